"""The model with its first weights: in the record, in the tables, in the plots, and in what is ranked."""

from __future__ import annotations

import csv

import pytest

from bench.errors import UserError
from bench.report.content.captions import caption
from bench.report.content.ranking import Bar, rank
from bench.report.content.sections import split
from bench.report.content.summary import verdict
from bench.report.plots import curves as plots
from bench.report.tables import files
from bench.report.tables.scores import tables
from bench.results import record as records
from bench.results.cell_folder import read_all
from tests import fabricate
from tests import fabricate_scores as scores
from tests.fabricate import section_of

DIMENSIONS = "MSE by latent dimensions"
BAR = Bar("the first weights of ebm", "ebm untrained does at least as well as the best trained model")


def dimension_curve(scale):
    labels = {"name": DIMENSIONS, "title": DIMENSIONS, "group": "reconstruction", "x_label": "k", "y_label": "MSE"}
    return labels | {"x": [4, 64], "y": [scale, scale / 2], "log_x": True, "mark": None, "figures": {}}


def with_untrained(model, seed, mse, *, untrained_mse, untrained_ssim=0.1, latent=64):
    """A record whose SSIM is 1 / (1 + 5 MSE), and what its model scores with its first weights."""
    apart = 1 + 0.001 * seed  # a clear lead in KID, without which nothing else is tested
    data = fabricate.record("digits", model, seed, mse=mse * apart, kid=mse * apart)
    data["curves"].append(dimension_curve(mse))
    first = {
        "metrics": [
            scores.metric("MSE", "reconstruction MSE", "reconstruction", untrained_mse, "lower"),
            scores.metric("SSIM", "SSIM", "reconstruction", untrained_ssim, "higher"),
        ],
        "curves": [dimension_curve(untrained_mse)],
    }
    return data | {"untrained": first, "latent_dimensions": latent}


def section(ebm_untrained, ssim=0.1):
    ebm = [with_untrained("ebm", i, 0.02, untrained_mse=ebm_untrained, untrained_ssim=ssim) for i in range(3)]
    dcgan = [with_untrained("dcgan", i, 0.04, untrained_mse=0.5, latent=100) for i in range(3)]
    return section_of(*ebm, *dcgan)


def bold(shown):
    (table,) = [one for one in tables(shown) if one.title == "Reconstruction"]
    return {column.header: [cell.bold for cell in column.cells] for column in table.columns}


# --- ranking ---


@pytest.mark.parametrize("untrained", [0.0001, 0.02])
def test_nothing_is_ranked_where_an_untrained_model_does_as_well(untrained):
    """0.02 is as good as the best seed, and better than the best mean, 0.02002."""
    before, after = rank(section(0.3)), rank(section(untrained))
    assert before.best.keys() - after.best.keys() == {"MSE"}
    assert after.best["SSIM"] == "ebm"
    assert after.barred == {"MSE": BAR}
    assert after.comparisons == before.comparisons - 1
    assert "MSE" not in after.p_values.keys() | after.untested.keys()
    assert bold(section(untrained))["reconstruction MSE ↓"] == [False, False]
    assert bold(section(untrained))["SSIM ↑"] == [False, True]  # by label: dcgan, ebm
    lines = caption(section(untrained))
    assert f"No winner is named in reconstruction MSE, as {BAR.reason}." in lines
    assert "Barred: the first weights of ebm win: reconstruction MSE." in lines


def test_a_higher_score_is_better_where_it_is():
    assert rank(section(0.3, ssim=0.95)).barred == {"SSIM": BAR}
    assert rank(section(0.3, ssim=0.05)).barred == {}


def test_a_worse_untrained_model_changes_nothing():
    shown = section(0.3)
    assert rank(shown).best["MSE"] == "ebm"
    assert bold(shown)["reconstruction MSE ↓"] == [False, True]
    assert "arred" not in " ".join(caption(shown))


def test_what_cannot_be_tested_is_said_beside_it():
    one = section_of(with_untrained("ebm", 0, 0.02, untrained_mse=0.001))
    text = " ".join(caption(one))
    assert f"No winner is named in reconstruction MSE, as {BAR.reason}. Not tested, as there are fewer than two" in text


# --- tables and plots ---


def test_untrained_rows_stand_below_with_the_latent_s_dimensions(tmp_path):
    shown = section(0.3)
    (table,) = [one for one in tables(shown) if one.title == "Reconstruction"]
    assert [column.header for column in table.columns[:3]] == ["model", "latent dimensions", "reconstruction MSE ↓"]
    rows = {row[0].text: [cell.text for cell in row] for row in [*table.rows, *table.below]}
    assert list(rows) == ["dcgan", "ebm", "dcgan, untrained", "ebm, untrained"]
    assert rows["ebm"][1] == rows["ebm, untrained"][1] == "64"
    assert rows["dcgan, untrained"][1:3] == ["100", "0.5000 ± 0"]
    assert rows["ebm, untrained"][3] == "–"  # it has no PSNR
    assert not any(
        "untrained" in cell.text for one in tables(shown) if one is not table for cell in one.columns[0].cells
    )
    assert any(
        line.startswith("Rows called untrained: the same models with their first weights") for line in caption(shown)
    )

    for record in shown.records:
        fabricate.cell(tmp_path, record.data, pictures=False)
    with open(files.write(tmp_path, split(read_all(tmp_path)))[0], newline="", encoding="utf-8") as file:
        lines = {line["model"]: line for line in csv.DictReader(file)}
    assert lines["ebm, untrained"]["kind"] == "untrained"
    assert float(lines["ebm, untrained"]["reconstruction MSE mean"]) == pytest.approx(0.3)
    assert (lines["ebm"]["latent dimensions"], lines["dcgan, untrained"]["latent dimensions"]) == ("64", "100")


def test_a_single_seed_s_untrained_row_has_its_own_interval():
    one = section_of(with_untrained("ebm", 0, 0.02, untrained_mse=0.3))
    (table,) = [found for found in tables(one) if found.title == "Reconstruction"]
    assert table.below[-1][2].text == "0.300 [0.270, 0.330]"


def test_the_models_differ_in_their_latents():
    (line,) = [line for line in verdict(section(0.3)).points if line.startswith("The models are not matched")]
    assert "dimensions of the latent (dcgan 100, ebm 64)" in line


def test_records_without_an_untrained_model_are_shown_as_before():
    old = section_of(fabricate.record(), fabricate.record(model="vae"))
    text = files.as_markdown([old])
    assert "untrained" not in text
    assert "latent dimensions" not in text


def test_the_untrained_curve_is_a_second_line_of_the_model(tmp_path):
    row = section(0.3).rows[1]
    (trained,), (first,) = (plots._lines(row, DIMENSIONS, untrained=one) for one in (False, True))
    assert list(trained.mean) == pytest.approx([0.02, 0.01])
    assert list(first.mean) == pytest.approx([0.3, 0.15])
    assert (trained.untrained, first.untrained) == (False, True)
    assert plots._lines(row, "MSE by decodes", untrained=True) == []


# --- the record ---


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"untrained": []}, "field untrained is .*, which has the wrong type"),
        ({"untrained": {"metrics": []}}, "field untrained.curves is missing"),
        ({"untrained": {"metrics": [{}], "curves": []}}, r"field untrained.metrics\[0\].name is missing"),
        ({"untrained": {"metrics": [], "curves": [{}]}}, r"field untrained.curves\[0\].name is missing"),
        ({"latent_dimensions": -1}, "field latent_dimensions is -1, which is below 0"),
        ({"latent_dimensions": 1.5}, "field latent_dimensions is 1.5, which has the wrong type"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path, change, named):
    file = tmp_path / "record.json"
    data = with_untrained("ebm", 0, 0.02, untrained_mse=0.3)
    records.write_record(file, data)
    assert records.read(file)["untrained"] == data["untrained"]
    records.write_record(file, data | {"untrained": None})
    assert records.read(file)["untrained"] is None
    records.write_record(file, data | change)
    with pytest.raises(UserError, match=named):
        records.read(file)


def test_it_has_one_value_of_one_evaluation_seed(tmp_path):
    file = tmp_path / "record.json"
    data = with_untrained("ebm", 0, 0.02, untrained_mse=0.3)
    data["untrained"]["metrics"][0]["per_seed"] = [0.3, 0.3]
    records.write_record(file, data)
    with pytest.raises(UserError, match=r"untrained.metrics\[0\].per_seed"):
        records.read(file)


def test_a_run_that_did_not_finish_has_none(tmp_path):
    file = tmp_path / "record.json"
    first = with_untrained("ebm", 0, 0.02, untrained_mse=0.3)["untrained"]
    records.write_record(file, fabricate.record(diverged_at=7) | {"untrained": first})
    with pytest.raises(UserError, match="field untrained is not empty although the status is diverged"):
        records.read(file)
