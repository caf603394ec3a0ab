"""The paper's tables from fabricated records: what is reported, what was measured, what is missing."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from statistics import mean

import pytest

from bench.paper import captions, figures, measured, tables
from bench.paper import plan as plans
from bench.report.content.statistics import t_interval
from bench.report.tables import csv as csvs
from bench.report.tables.model import Table
from bench.results.cell_folder import CellFolder, read_all
from bench.results.status import CellStatus
from tests import fabricate, paper_runs


def built(out, plan) -> dict[str, Table]:
    records = measured.read(out, plan)
    protocols = measured.protocols(records)
    found = tables.comparisons(measured.comparison(out, plan, records, protocols))
    for one in plan.ablations:
        found += tables.ablations(one, measured.ablation(out, one, records, protocols))
    return {table.name: table for table in found}


def rows(table: Table) -> dict[str, dict[str, str]]:
    """The texts: row label -> column -> text."""
    found = {}
    for cells in table.rows:
        found[cells[0].text] = {column.header: cell.text for column, cell in zip(table.columns, cells, strict=True)}
    return found


def entry(row: dict[str, str], start: str) -> str:
    """The one entry whose column begins so."""
    (text,) = [text for header, text in row.items() if header.startswith(start)]
    return text


@pytest.fixture(scope="module")
def quick() -> plans.Plan:
    """A plan of three models that does not change with what is shipped."""
    plan = plans.stored(Path(__file__).parent / "paper_scale")
    assert plan is not None
    return plan


@pytest.fixture(scope="module")
def whole(tmp_path_factory, quick) -> dict[str, Table]:
    out = paper_runs.write(tmp_path_factory.mktemp("paper"), quick)
    return built(out, quick)


def test_there_are_five_tables(whole):
    assert sorted(whole) == ["table-1a", "table-1b", "table-2", "table-3a", "table-3b"]


def test_an_inception_score_that_ranks_nothing_or_is_not_there_is_explained(tmp_path, quick):
    def sentences(change) -> list[str]:
        out = paper_runs.write(tmp_path / change.__name__, quick)
        records = measured.read(out, quick)
        for record in (one for own in records.values() for one in own):
            record.data["metrics"] = [change(one) for one in record.metrics if change(one)]
        protocols = measured.protocols(records)
        (part,) = measured.ablation(out, quick.ablations[0], records, protocols)
        return captions.ablation(quick.ablations[0], part)

    def as_it_is(one):
        return one

    def without(one):
        return None if one["name"] == "IS" else one

    def describing(one):
        return one | {"better": "none", "note": "biased low; presumes what is not so"} if one["name"] == "IS" else one

    assert not any("IS" in line for line in sentences(as_it_is))
    assert "digits: no IS, which presumes natural images; evaluation.metrics can name it all the same." in sentences(
        without
    )
    assert "digits: IS presumes what is not so." in sentences(describing)


def test_table_1_sets_reported_and_measured_side_by_side(whole):
    row = rows(whole["table-1a"])["ebm"]
    assert row["reported: CIFAR-10 IS ↑"] == "6.21"
    assert row["reported: LSUN bedroom 64 FID ↓"] == "44.16†"
    values = [0.03, 0.033, 0.036]
    low, high = t_interval(values)
    assert row["measured: digits KID(efficientnet-lite0) ↓"] == f"{mean(values):.4f} ± {(high - low) / 2:.4f}"
    assert row["digits cells"] == "3 finished"
    assert list(rows(whole["table-1a"])) == ["vae", "dcgan", "ebm"]
    errors = rows(whole["table-1b"])
    assert errors["vae"]["reported: CelebA 64 MSE ↓"] == "0.0341†"
    assert errors["vae"]["digits budget"] == "1 decode per image"
    assert errors["ebm"]["digits budget"] == "100 decodes per image"


def test_no_measured_score_is_called_fid(whole):
    for table in whole.values():
        for column in table.columns:
            assert not column.header.startswith("measured: FID")
            assert "FID(" not in column.header


def test_ablations_hold_the_papers_points_and_ours(whole):
    table = rows(whole["table-2"])
    assert list(table) == ["5", "10", "20", "25", "40", "50", "75", "100"]
    assert entry(table["10"], "reported: FID") == "182.5†"
    assert entry(table["10"], "sigma, paper") == "0.1"
    assert entry(table["5"], "measured: KID") == "–"
    assert entry(table["20"], "reported: FID") == "–"
    assert entry(table["40"], "sigma, here") == "0.045"
    assert entry(table["40"], "cells") == "3 finished"
    assert list(rows(whole["table-3a"])) == ["0.1", "0.08", "0.06", "0.05", "0.04", "0.03"]
    assert list(rows(whole["table-3b"])) == ["16", "32", "64", "128"]
    assert entry(rows(whole["table-3b"])["128"], "reported: IS") == "6.21"


def test_the_shared_point_is_the_same_in_every_table(whole):
    kid = entry(rows(whole["table-1a"])["ebm"], "measured: digits KID")
    for name, place in (("table-2", "20"), ("table-3a", "0.06"), ("table-3b", "32")):
        assert entry(rows(whole[name])[place], "measured: KID") == kid


def test_captions_state_what_differs(whole):
    text = " ".join(whole["table-2"].notes)
    for words in (
        "data set digits, 1 × 8 × 8",
        "1,498 training images (40,000)",
        "features of efficientnet-lite0 at 224 pixels (inception)",
        "1,000 generated images against 1,498 real ones (40,000 generated)",
        "updates 1,000 (200,000)",
        "lr 0.002 falling to 0 (0.0001)",
        "training seeds 0, 1, 2",
        "cannot be compared",
        "still has to be confirmed",
    ):
        assert words in text, words
    assert "K 20" not in text  # it stands in a column
    for name, words in (("table-3a", "K 20 (100)"), ("table-3b", "sigma 0.06 (0.03)"), ("table-1a", "n_f 32")):
        assert words in " ".join(whole[name].notes)
    assert "[-1, 1]" in " ".join(whole["table-1b"].notes)


@pytest.mark.parametrize("extractor", ["inception", "efficientnet-lite0"])
def test_only_the_papers_own_images_and_features_compare(extractor, tmp_path):
    plan = plans.load("paper")
    for dataset in ("cifar10", "celeba"):
        record = fabricate.record(dataset, "ebm", 0)
        for metric in record["metrics"]:
            if metric.get("extractor"):
                metric["extractor"] = extractor
        fabricate.cell(tmp_path / "main", record, pictures=False)
    records = measured.read(tmp_path, plan)
    parts = measured.comparison(tmp_path, plan, records, measured.protocols(records))
    (part,) = parts["cifar10"]
    assert captions.comparable("1a", part) == (extractor == "inception")
    assert captions.comparable("1b", part)  # a squared error knows no features
    (other,) = parts["celeba"]
    assert not captions.comparable("2", other)  # Table 2 is of CIFAR-10
    text = " ".join(captions.comparison("1a", {"cifar10": part}))
    assert ("cannot be compared" in text) == (extractor != "inception")


def odd(folder: str, model: str, seed: int):
    if folder == "ebm.n_f=64":
        return None
    if folder == "ebm.n_f=16" and seed == 2:
        return {"out_of_memory": True}
    if folder.startswith("ebm.sigma=0.04"):
        return {"diverged_at": 800 + seed}
    if folder.startswith("ebm.steps=10") and seed == 1:
        return {"diverged_at": 77}
    return None if (model, seed) == ("vae", 1) else {}


@pytest.fixture(scope="module")
def partial(tmp_path_factory, quick):
    out = paper_runs.write(tmp_path_factory.mktemp("partial"), quick, odd)
    CellFolder(out / "ebm.n_f=64", "digits", "ebm", 1).write_status(CellStatus("interrupted", 300, 1000))
    return out, built(out, quick)


def test_missing_cells_are_shown_with_their_status(partial):
    _, found = partial
    table = rows(found["table-3b"])
    assert entry(table["64"], "cells") == "2 not run, 1 interrupted at update 300"
    assert entry(table["64"], "measured: KID") == "2 not run, 1 interrupted at update 300"
    assert entry(table["16"], "cells") == "2 finished, 1 out of memory"
    assert entry(table["16"], "measured: KID").endswith(" (2 of 3 seeds)")
    diverged = rows(found["table-3a"])["0.04"]
    assert entry(diverged, "measured: FD") == "diverged"
    assert entry(diverged, "cells") == "3 diverged at updates 800, 801, 802"
    assert entry(rows(found["table-2"])["10"], "cells") == "2 finished, 1 diverged at update 77"
    assert entry(rows(found["table-1a"])["vae"], "digits cells") == "2 finished, 1 not run"
    notes = " ".join(found["table-2"].notes)
    assert "Diverged, and in no average: ebm.steps=10,ebm.sigma=0.1" in notes
    assert "seed 1: energy gap became nan at update 77." in notes


def test_a_mean_over_survivors_leaves_the_others_out(partial, whole):
    out, found = partial
    records = [r for r in read_all(out / "ebm.steps=10,ebm.sigma=0.1,ebm.sigma_final=0.1") if r.finished]
    values = [r.metric("KID")["value"] for r in records]
    (column,) = [c for c in found["table-2"].columns if c.header.startswith("measured: KID")]
    fields = list(column.cells[1].fields.values())
    assert fields[0] == pytest.approx(mean(values))
    assert fields[2] == 2


def test_nothing_run_is_a_table_of_reported_numbers(tmp_path, quick):
    plans.save(tmp_path, quick)
    found = built(tmp_path, quick)
    assert sorted(found) == ["table-1a", "table-1b", "table-2", "table-3a", "table-3b"]
    row = rows(found["table-2"])["10"]
    assert entry(row, "reported: FID") == "182.5†"
    assert entry(row, "cells") == "3 not run"
    assert entry(row, "measured: KID") == "not run"
    assert "nothing has been measured yet" in " ".join(found["table-2"].notes)
    assert figures.write(tmp_path, []) == []


def test_protocols_stand_in_tables_of_their_own(tmp_path, quick):
    def mixed(folder, model, seed):
        return {"n_generated": 500} if folder == "ebm.n_f=16" or (model, seed) == ("ebm", 2) else {}

    out = paper_runs.write(tmp_path, quick, mixed)
    found = built(out, quick)
    assert {"table-1a", "table-1a.protocol-2", "table-3b", "table-3b.protocol-2"} <= set(found)
    first, second = rows(found["table-3b"]), rows(found["table-3b.protocol-2"])
    assert entry(first["16"], "cells") == "3 under protocol 2"
    assert entry(first["16"], "measured: KID") == "under protocol 2"
    assert entry(second["16"], "cells") == "3 finished"
    assert entry(first["32"], "cells") == "2 finished, 1 under protocol 2"  # as in Table 1: its seed 2
    assert entry(rows(found["table-1a"])["ebm"], "digits cells") == "2 finished, 1 under protocol 2"
    counts = [c for name in ("table-3b", "table-3b.protocol-2") for c in found[name].notes if "generated images" in c]
    assert len(counts) == 2
    assert counts[0] != counts[1]
    written = tables.write(out, list(found.values()))
    assert out / "tables" / "table-3b.protocol-2.csv" in written
    tables.write(out, [table for table in found.values() if "protocol" not in table.name])
    assert not list((out / "tables").glob("*protocol*"))


def test_csv_has_full_precision(whole, partial):
    for table in whole.values():
        lines = list(csv.reader(io.StringIO(csvs.render(csvs.lines_of(table)))))
        assert {len(line) for line in lines} == {len(lines[0])}
    lines = list(csv.DictReader(io.StringIO(csvs.render(csvs.lines_of(whole["table-2"])))))
    assert [line["K"] for line in lines][:3] == ["5", "10", "20"]
    assert lines[1]["reported: FID"] == "182.5"
    assert lines[1]["reported: FID, confirmed"] == "False"
    assert float(lines[2]["measured: KID(efficientnet-lite0) mean"]) == mean([0.03, 0.033, 0.036])
    assert lines[0]["measured: KID(efficientnet-lite0) n"] == "0"


def test_markdown_and_latex_hold_every_entry(partial, tmp_path):
    _, found = partial
    table = found["table-3b"]
    tables.write(tmp_path, [table])
    text, tex = ((tmp_path / f"tables/table-3b.{ending}").read_text(encoding="utf-8") for ending in ("md", "tex"))
    assert "2 not run, 1 interrupted at update 300" in text
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 1
    assert r"n\_f" in tex
    body = tex[tex.index(r"\midrule") : tex.index(r"\bottomrule")]
    assert body.count(r"\\") == len(table.columns[0].cells)


def test_curves_leave_out_what_is_missing(partial, quick):
    out, _ = partial
    records = measured.read(out, quick)
    pairs = [(one, measured.ablation(out, one, records, measured.protocols(records))) for one in quick.ablations]
    drawn = figures.write(out, pairs)
    paths = [path for one in drawn for path in one.pictures]
    assert [path.name for path in paths] == ["score-by-K.png", "score-by-sigma.png", "score-by-n_f.png"]
    assert "sigma = 0.04: 3 diverged at updates 800, 801, 802" in drawn[1].text
    assert "are in the table alone" in drawn[0].text  # other features: no reported curve
    before = [path.read_bytes() for path in paths]
    figures.write(out, pairs)
    assert [path.read_bytes() for path in paths] == before
