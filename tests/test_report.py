"""The tables: numbers against hand-computed ones, nothing averaged that must not be, every name escaped."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from bench import report
from bench.errors import UserError
from bench.records import Record
from bench.report import numerals, tables
from bench.report.sections import Summary, split
from tests import fabricate


def lines_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def in_memory(*records: dict) -> list[Record]:
    return [Record(Path(f"cells/{i}"), data) for i, data in enumerate(records)]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    root = fabricate.comparison(tmp_path_factory.mktemp("results"))
    report.build(root)
    return root


# --- numbers ---


def test_table_csv_holds_mean_and_sample_standard_deviation(results):
    ebm = next(
        line for line in lines_of(results / "table.csv") if (line["dataset"], line["model"]) == ("digits", "ebm")
    )
    # 0.010, 0.012, 0.017: mean 0.013, squared deviations 9e-6 + 1e-6 + 16e-6 over ddof 2
    assert float(ebm["KID(efficientnet-lite0) mean"]) == pytest.approx(0.013, rel=1e-12)
    assert float(ebm["KID(efficientnet-lite0) std"]) == pytest.approx((26e-6 / 2) ** 0.5, rel=1e-12)
    assert ebm["KID(efficientnet-lite0) n"] == "3"
    assert float(ebm["training seconds mean"]) == 31.0
    assert float(ebm["training seconds std"]) == 1.0
    assert ebm["KID(efficientnet-lite0) lead"] == "True"
    assert ebm["reconstruction MSE budget"] == "100"
    assert ebm["parameters"] == "33000"


def test_table_markdown_shows_the_same_numbers(results):
    text = (results / "table.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| ebm "))
    assert "0.0130 ± 0.0036" in row  # the standard deviation is 0.00361
    header = next(line for line in text.splitlines() if line.startswith("| model"))
    assert header.index("KID(efficientnet-lite0) ↓") < header.index("FD(efficientnet-lite0) ↓")  # the lead comes first
    assert "IS(efficientnet-lite0) ↑" in header


def test_cells_csv_has_every_cell_in_full_precision(results):
    cells = lines_of(results / "cells.csv")
    assert len(cells) == 10
    value = next(cell for cell in cells if cell["record"] == "cells/digits/dcgan/seed-1/record.json")
    assert float(value["KID(efficientnet-lite0)"]) == 5 * 0.012
    assert [cell["status"] for cell in cells].count("diverged") == 1


def test_a_single_seed_stands_alone(results):
    birds = (results / "table.md").read_text(encoding="utf-8").split("## folder:my/birds")[1]
    row = next(line for line in birds.splitlines() if line.startswith("| ebm "))
    assert " 0.01000 |" in row
    assert "±" not in birds
    line = next(line for line in lines_of(results / "table.csv") if line["dataset"] == "folder:my/birds")
    assert line["KID(efficientnet-lite0) std"] == ""


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (Summary(0.0123456, 0.00123, 3), "0.0123 ± 0.0012"),
        (Summary(12345.6, 234.0, 3), "12,346 ± 234"),
        (Summary(6.214, 0.05, 3), "6.214 ± 0.050"),
        (Summary(0.5, None, 1), "0.5000"),
        (Summary(3.2e-7, 4e-8, 2), "3.20e-07 ± 4.0e-08"),
        (Summary(0.25, 1e-9, 3), "0.250000 ± 1e-09"),
        (Summary(7.0, 0.0, 2), "7.000 ± 0"),
        (Summary(-0.0002, 0.001, 3), "-0.0002 ± 0.0010"),
        (None, "–"),
    ],
)
def test_plus_minus(summary, expected):
    assert numerals.plus_minus(summary) == expected


# --- what must be said, what must not be averaged ---


def test_a_diverged_run_is_shown_and_never_averaged(results):
    vae = next(line for line in lines_of(results / "table.csv") if line["model"] == "vae")
    assert vae["KID(efficientnet-lite0) n"] == "2"
    assert float(vae["KID(efficientnet-lite0) mean"]) == pytest.approx(3 * 0.011)
    assert (vae["seeds finished"], vae["seeds diverged"]) == ("2", "1")
    for name in ("table.md", "table.tex"):
        text = (results / name).read_text(encoding="utf-8")
        assert "2 finished, 1 diverged at update 812" in text
        assert "vae, seed 2: energy gap became nan at update 812" in text


def test_the_caption_states_the_protocol(results):
    text = (results / "table.md").read_text(encoding="utf-8")
    for stated in [
        "Lead score: KID(efficientnet-lite0)",
        "No statistical test was made",
        "ddof = 1",
        "seeds 0, 1, 2",
        "1,000 generated images against 1,498 real images, features of efficientnet-lite0 at 224 × 224 pixels",
        "Profile quick",
        "device Example CPU @ 2.0 GHz",
        "a sixth of the set: it is too small for 1,000",
        "1 decode per image",
        "100 decodes per image",
    ]:
        assert stated in text, stated
    assert "**" not in text
    assert "textbf" not in (results / "table.tex").read_text(encoding="utf-8")


def _changed(seed: int, change: dict[tuple[str, ...], object]) -> dict:
    data = fabricate.record(seed=seed)
    for path, value in change.items():
        part = data
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "change",
    [
        {("metrics", 0, "n_generated"): 5000},
        {("metrics", 1, "resize"): 299},
        {("metrics", 1, "weights_hash"): "another"},
        {("metrics", 3, "budget"): 300},
        {("config", "evaluation", "features"): "inception"},
        {("config", "data", "image_size"): 16},
        {("data", "content_hash"): "other images"},
        {("environment", "device"): "Another CPU"},
        {("throughput", "threads"): 1},
    ],
    ids=lambda change: ".".join(map(str, next(iter(change)))),
)
def test_other_protocols_stand_apart(change):
    sections = split(in_memory(fabricate.record(seed=0), _changed(1, change), fabricate.record(seed=2)))
    assert [[record.seed for record in section.records] for section in sections] == [[0, 2], [1]]
    text = tables.markdown(sections)
    assert "## digits (protocol 1 of 2)" in text
    assert "## digits (protocol 2 of 2)" in text


def test_the_evaluation_seed_does_not_part_a_table():
    changed = _changed(1, {("evaluation_seed",): 1, ("config", "evaluation", "seed"): 1})
    assert len(split(in_memory(fabricate.record(seed=0), changed))) == 1


def test_an_outcome_does_not_part_a_table_and_its_note_names_the_model():
    left_out = {"n": 60, "spread_of": "60 pairs", "note": "4 paths with equal ends left out"}
    fewer = fabricate.record(model="vae")
    fewer["metrics"][4] |= left_out
    (section,) = split(in_memory(fabricate.record(), fewer))
    text = tables.markdown([section])
    assert "interpolation length ratio (vae): 4 paths with equal ends left out." in text
    assert "interpolation length ratio: mean over 64 pairs or 60 pairs, 9 points on each path." in text


def test_a_diverged_run_joins_its_models_section():
    dead = fabricate.record(seed=1, diverged_at=5)
    first, second = fabricate.record(seed=0, n_generated=5000), fabricate.record(seed=2)
    sections = split(in_memory(first, dead, second))
    assert [[record.seed for record in section.records] for section in sections] == [[0], [1, 2]]


def test_two_configurations_of_one_model_get_two_rows():
    longer = _changed(1, {("config", "model", "steps"): 50})
    (section,) = split(in_memory(fabricate.record(seed=0), longer, fabricate.record(seed=2)))
    assert [(row.label, [record.seed for record in row.records]) for row in section.rows] == [
        ("ebm (steps=20)", [0, 2]),
        ("ebm (steps=50)", [1]),
    ]


def test_the_same_cell_twice_is_refused():
    with pytest.raises(UserError, match="both hold digits, ebm, training seed 4; delete one") as caught:
        split(in_memory(fabricate.record(seed=4), fabricate.record(seed=4)))
    assert "cells/0" in str(caught.value)
    assert "cells/1" in str(caught.value)


def test_a_score_that_one_seed_lacks_states_its_count():
    partial = fabricate.record(seed=1)
    del partial["metrics"][3]
    assert "0.02000 (n = 1)" in tables.markdown(split(in_memory(fabricate.record(seed=0), partial)))


# --- formats ---


def test_names_are_escaped(tmp_path):
    sections = split(in_memory(fabricate.record("[x]%{y}~^", r"a_b|c&\d")))
    markdown, latex = tables.markdown(sections), tables.latex(sections)
    assert r"| a\_b\|c\&\\d |" in markdown
    assert r"a\_b\textbar{}c\&\textbackslash{}d & 0.01000" in latex
    assert r"\caption{{[}x{]}\%\{y\}\textasciitilde{}\textasciicircum{}." in latex
    rows = [line for line in markdown.splitlines() if line.startswith("| a")]
    assert len(rows) == 3
    header = next(line for line in markdown.splitlines() if line.startswith("| model"))
    assert rows[0].replace(r"\|", "").count("|") == header.count("|")


def test_latex_is_balanced_and_uses_booktabs(results):
    text = (results / "table.tex").read_text(encoding="utf-8")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"):
        assert text.count(rule) == text.count(r"\begin{tabular}") == 6
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert not set("±↓↑×–") & set(text)


def test_markdown_columns_line_up(results):
    block = (results / "table.md").read_text(encoding="utf-8").split("### Samples")[1].split("###")[0].strip()
    places = [[i for i, character in enumerate(line) if character == "|"] for line in block.splitlines()]
    assert len(places) == 5
    assert all(place == places[0] for place in places)


def test_two_builds_give_the_same_bytes(results, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(results, copy)
    for path in [copy / "table.csv", copy / "table.tex", copy / "plots"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    written = report.build(copy)
    assert len(written) == 4 + 2 * 7
    for path in written:
        assert path.read_bytes() == (results / path.relative_to(copy)).read_bytes(), path.name


def test_files_of_others_are_left_alone(tmp_path):
    fabricate.cell(tmp_path, fabricate.record(), pictures=False)
    mine = tmp_path / "plots/digits/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report.build(tmp_path)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(tmp_path.rglob("*.tmp"))
