"""What is bold and why, the rows below the models, and which table has which columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.report.content.captions import caption
from bench.report.content.ranking import rank
from bench.report.content.sections import Section, split
from bench.report.tables import files
from bench.report.tables.model import Table
from bench.report.tables.scores import tables
from bench.results.cell_folder import read_all
from tests import fabricate
from tests.fabricate import section_of

KID = "KID(efficientnet-lite0)"


def block_of(section: Section, title: str) -> Table:
    return next(block for block in tables(section) if block.title.startswith(title))


def bold(section: Section) -> dict[str, list[str]]:
    """Header of each column with bold cells -> the models that are bold in it."""
    found = {}
    for block in tables(section):
        labels = [cell.text for cell in block.columns[0].cells]
        for column in block.columns:
            if names := [label for label, cell in zip(labels, column.cells, strict=True) if cell.bold]:
                found[f"{block.title}: {column.header}"] = names
    return found


def _table_csv(root: Path, section: Section) -> list[dict[str, str]]:
    """The lines of table.csv of the section's records, written into a results folder."""
    for record in section.records:
        fabricate.cell(root, record.data, pictures=False)
    with open(files.write(root, split(read_all(root)))[0], newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_is_best_beyond_chance_is_bold():
    section = section_of(*(one for model in ("ebm", "vae", "dcgan") for one in fabricate.decided(model)))
    found = bold(section)
    assert found[f"Samples: {KID} ↓"] == ["ebm"]
    assert found["Samples: IS(efficientnet-lite0) ↑"] == ["dcgan"]  # higher is better
    assert found["Interpolation between real images: midpoint KID ↓"] == ["ebm"]
    assert not any(title.startswith(("Reconstruction", "Diagnostics", "Cost")) for title in found)  # equal, or alone
    assert not any(title.endswith(": memorization") for title in found)  # a description
    text, latex = files.as_markdown([section]), files.as_latex([section])
    assert text.count("**") == 2 * latex.count(r"\textbf{") == 2 * len(found)
    assert "**0.010010 ± 0.000025**" in text
    assert r"\textbf{0.010010 $\pm$ 0.000025}" in latex
    # 8 ranked scores of samples, 3 of reconstruction, 2 of interpolation
    assert "Bold: best of its column and better than every other model there" in text
    assert (
        "Certainty: Welch's t-test against each other model, the lead score first, then the others, Holm-corrected "
        "over 13 columns of means over training seeds."
    ) in text
    assert "Not tested, as there are fewer than two rows: OOD AUROC (uniform noise)." in text


def test_better_than_all_others_is_more_than_better_than_one():
    twin = [one | {"model": "dcgan-twin"} for one in fabricate.decided("dcgan")]
    section = section_of(*fabricate.decided("ebm"), *fabricate.decided("dcgan"), *twin)
    assert bold(section)[f"Samples: {KID} ↓"] == ["ebm"]
    assert "Samples: IS(efficientnet-lite0) ↑" not in bold(section)  # the two lead together


def test_without_a_winner_in_the_lead_score_there_is_none_in_the_others():
    twin = [one | {"model": "ebm-twin"} for one in fabricate.decided("ebm")]
    section = section_of(*fabricate.decided("ebm"), *twin, *fabricate.decided("dcgan"))
    assert bold(section) == {}  # not even in IS, where dcgan is far ahead
    ranking = rank(section)
    assert max(ranking.p_values["IS"].values()) < 0.01 < 0.05 < ranking.decisive["IS"] == ranking.decisive["KID"]
    text = " ".join(caption(section))
    assert "Without a winner in the lead score no other score can have one." in text
    assert f"No winner can be named in the lead score, {KID}." in files.as_markdown([section])


def test_where_chance_explains_the_difference_nothing_is_bold():
    near = [fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])]
    other = [fabricate.record(model="dcgan", seed=seed, kid=kid) for seed, kid in enumerate([0.011, 0.013, 0.018])]
    section = section_of(*near, *other)
    assert bold(section) == {}
    text = " ".join(caption(section))
    assert "ebm has the best mean, but chance alone could explain its lead over dcgan (p = " in text
    assert "nothing is bold where no winner is named" in text


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        (fabricate.decided("ebm", 2) + fabricate.decided("dcgan", 3), "fewer than three seeds"),
        (fabricate.decided("ebm", 3), "fewer than two rows"),
    ],
)
def test_without_three_seeds_or_a_rival_nothing_is_tested(records, reason):
    section = section_of(*records)
    assert bold(section) == {}
    text = " ".join(caption(section))
    assert f"Not tested, as there are {reason}: KID, FD, " in text
    assert "Certainty" not in text


def test_a_winner_with_diverged_runs_is_named_and_not_bold():
    dead = fabricate.record("digits", "ebm", 3, diverged_at=5)
    section = section_of(*fabricate.decided("ebm"), dead, *fabricate.decided("dcgan"))
    assert {row for rows in bold(section).values() for row in rows} == {"dcgan"}
    (line,) = [line for line in caption(section) if line.startswith("ebm is ahead in KID, ")]
    assert "but not all of its runs finished: its mean is one over survivors, and no winner is named." in line


def test_bold_at_unequal_budgets_says_so():
    better = [fabricate.record(seed=seed, kid=0.01 + 1e-5 * seed, mse=0.01 + 1e-5 * seed) for seed in range(3)]
    worse = [fabricate.record(model="vae", seed=i, kid=0.02 + 1e-5 * i, mse=0.02 + 1e-5 * i) for i in range(3)]
    section = section_of(*better, *worse)
    assert bold(section)["Reconstruction: reconstruction MSE ↓"] == ["ebm"]
    assert any(
        line.startswith("Budgets differ") and line.endswith("(reconstruction MSE, PSNR, SSIM).")
        for line in caption(section)
    )
    assert [column.header for column in block_of(section, "Reconstruction").columns][-1] == "budget"


# --- the rows below the models ---


def test_references_stand_below_the_models_where_they_have_a_score(tmp_path):
    section = section_of(fabricate.record(), fabricate.record(model="vae"))
    samples = block_of(section, "Samples")
    assert [cell.text for cell in samples.columns[0].references] == ["real, held out (299 images)", "uniform noise"]
    assert samples.columns[1].references[1].text == "0.400 [0.360, 0.440]"
    assert block_of(section, "Reconstruction").columns[0].references == []
    lines = files.as_markdown([section]).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| real, held out"))
    assert not lines[first - 1].strip("| ")  # an empty row parts them
    assert lines[first - 2].startswith("| vae")
    rows = _table_csv(tmp_path, section)
    assert [row["kind"] for row in rows] == ["model", "model", "real", "noise"]
    assert float(rows[3][f"{KID} mean"]) == 0.4
    assert rows[2][f"{KID} n_generated"] == "299"
    assert rows[2]["reconstruction MSE mean"] == ""


def test_a_reference_row_is_called_what_its_scores_were_made_of():
    record = fabricate.record()
    mean = {"name": "MSE", "label": "reconstruction MSE", "group": "reconstruction", "made_of": "the mean image"}
    ceiling = record["references"]["noise"]["metrics"]
    ceiling.append(next(one for one in record["metrics"] if one["name"] == "MSE") | mean | {"per_seed": [0.3]})
    section = section_of(record)
    assert block_of(section, "Reconstruction").columns[0].references[-1].text == "the mean image"
    assert block_of(section, "Samples").columns[0].references[-1].text == "uniform noise"


def test_a_reference_of_as_many_images_is_not_labelled_with_them():
    data = fabricate.record(n_generated=299)
    section = section_of(data)
    labels = [cell.text for cell in block_of(section, "Samples").columns[0].references]
    assert labels == ["real, held out", "uniform noise (1,000 images)"]


def test_records_that_disagree_on_a_reference_are_reported():
    other = fabricate.record(seed=1)
    other["references"]["real"]["metrics"][0] |= {"value": 1.01, "per_seed": [1.01]}
    assert any("disagree on real, held out" in line for line in caption(section_of(fabricate.record(), other)))
    assert not any("disagree" in line for line in caption(section_of(fabricate.record(), fabricate.record(seed=1))))


def test_records_without_references_have_no_such_rows():
    section = section_of(fabricate.record() | {"references": {}})
    assert all(column.references == [] for block in tables(section) for column in block.columns)
    assert "Rows below" not in " ".join(caption(section))


# --- which table has what ---


def test_each_group_has_its_table():
    headers = {
        block.title: [column.header for column in block.columns[1:]]
        for block in tables(section_of(*(fabricate.record(seed=i, evaluation_seeds=(0, 1, 2)) for i in range(5))))
    }
    assert list(headers) == [
        "Samples",
        "Samples: fidelity, variety and memorization (features of efficientnet-lite0)",
        "Reconstruction",
        "Interpolation between samples",
        "Interpolation between real images",
        "Diagnostics",
        "Cost",
    ]
    assert headers["Samples"][0] == f"{KID} ↓"
    assert headers["Samples"][-1] == "status"
    fidelity = headers["Samples: fidelity, variety and memorization (features of efficientnet-lite0)"]
    assert fidelity == ["precision ↑", "recall ↑", "density ↑", "coverage ↑", "memorization"]
    assert headers["Reconstruction"] == ["reconstruction MSE ↓", "PSNR ↑", "SSIM ↑", "budget"]
    shapes = ["length ratio", "largest step", "second difference", "feature length ratio", "midpoint realism"]
    assert headers["Interpolation between samples"] == [*shapes, "perceptual path length ↓"]
    assert headers["Interpolation between real images"] == [*shapes, "midpoint KID ↓"]
    assert headers["Diagnostics"] == ["energy gap", "gradient norm", "OOD AUROC (uniform noise) ↑"]


def test_the_papers_path_is_in_the_csv_alone(tmp_path):
    section = section_of(fabricate.record())
    assert "paper path" not in files.as_markdown([section])
    line = _table_csv(tmp_path, section)[0]
    assert float(line["interpolation length ratio, paper path mean"]) == pytest.approx(1.51)
    assert float(line["interpolation length ratio, paper path, real ends mean"]) == pytest.approx(1.61)


def test_an_extractor_is_left_out_of_a_header_only_where_the_title_has_it():
    data = fabricate.record()
    for metric in data["metrics"]:
        metric["label"] = metric["label"].replace("(efficientnet-lite0)", "(efficientnet-lite0, 112 px)")
    block = block_of(section_of(data), "Samples: fidelity")
    assert block.title.endswith("(features of efficientnet-lite0, 112 px)")
    assert block.columns[1].header == "precision ↑"
    data["metrics"][4]["label"] = "precision(inception/64)"
    block = block_of(section_of(data), "Samples: fidelity")
    assert block.title == "Samples: fidelity, variety and memorization"
    assert [column.header for column in block.columns[1:3]] == [
        "precision(inception/64) ↑",
        "recall(efficientnet-lite0, 112 px) ↑",
    ]


def test_budgets_that_differ_between_scores_are_all_shown():
    data = fabricate.record()
    data["metrics"][9]["budget"] = 7
    columns = [column.header for column in block_of(section_of(data), "Reconstruction").columns]
    assert columns == ["model", "reconstruction MSE ↓", "budget", "PSNR ↑", "SSIM ↑", "budget"]
