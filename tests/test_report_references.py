"""Columns in which spoilt images win, and the table in which all rows count the same images."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UserError
from bench.report.content.captions import caption
from bench.report.content.ranking import Bar, rank
from bench.report.content.sections import Section
from bench.report.content.summary import verdict
from bench.report.tables.scores import tables
from tests import fabricate
from tests.fabricate import section_of

BLURRED = "real, blurred (sd 0.5 px)"


def spoilt(records: list[dict[str, Any]], title: str = BLURRED, kind: str = "blurred", **values: float) -> Section:
    """The section of records with one more reference, whose scores are the real reference's but for `values`."""
    for record in records:
        floor = record["references"]["real"]["metrics"]
        own = [one | {"value": values.get(one["name"], one["value"]), "interval": None} for one in floor]
        record["references"][kind] = {"title": title, "metrics": [one | {"per_seed": [one["value"]]} for one in own]}
    return section_of(*records)


def decided() -> list[dict[str, Any]]:
    return [one for model in ("ebm", "vae", "dcgan") for one in fabricate.decided(model)]


def test_nothing_is_barred_where_spoilt_images_are_worse_or_equal():
    assert rank(spoilt(decided(), KID=0.1, density=0.5)).barred == {}
    assert rank(section_of(*decided())).barred == {}  # records without such a reference


def test_a_column_that_spoilt_images_win_has_no_winner():
    plain = rank(section_of(*decided()))
    assert plain.best["density"] == "ebm"
    section = spoilt(decided(), density=8.4, FD=400.0)
    found = rank(section)
    reason = f"images that are {BLURRED} score better than real, held out"
    assert found.barred == {"density": Bar("blurred images", reason)}
    assert "density" not in {**found.best, **found.p_values, **found.untested}
    assert found.best == {name: label for name, label in plain.best.items() if name != "density"}
    assert found.comparisons == plain.comparisons - 1
    assert found.order["density"] == plain.order["density"]
    assert f"No winner is named in density, as {reason}." in caption(section)
    assert "Barred: blurred images win: density." in caption(section)


def test_a_barred_lead_score_names_no_winner():
    section = spoilt(decided(), KID=-0.1)
    assert verdict(section).headline.startswith(
        "No winner can be named in the lead score, KID(efficientnet-lite0): images"
    )
    assert "KID" in rank(section).barred


def test_two_kinds_of_spoilt_images_are_both_named():
    records = decided()
    spoilt(records, precision=1.0)
    section = spoilt(records, "real, with noise", "noised", precision=1.0)
    assert (
        rank(section)
        .barred["precision"]
        .reason.startswith(f"images that are {BLURRED} and real, with noise score better")
    )


def test_noise_bars_a_column_too():
    records = decided()
    for record in records:
        for one in record["references"]["noise"]["metrics"]:
            one |= {"n_generated": 299} | ({"value": 1.0, "per_seed": [1.0]} if one["name"] == "recall" else {})
    assert (
        rank(section_of(*records)).barred["recall"].reason
        == "images that are uniform noise score better than real, held out"
    )


def test_counts_that_differ_bar_nothing():
    records = decided()
    spoilt(records, precision=1.0)
    for record in records:
        for one in record["references"]["blurred"]["metrics"]:
            one["n_generated"] = 500
    assert rank(section_of(*records)).barred == {}


def at_equal_counts(metrics: list[dict[str, Any]], *, only: bool = False) -> list[dict[str, Any]]:
    """Scores with precision and FD once more at 1,000 against 797 images; `only`: those alone, and KID there."""
    again = [
        one
        | {"name": f"{one['name']} at equal counts", "label": f"{one['label']} at equal counts"}
        | {"table": "equal counts", "n_real": 797, "n_generated": 1000, "lead": False}
        for one in metrics
        if one["name"] in ("FD", "precision")
    ]
    kid = [one | {"n_real": 797, "n_generated": 1000} for one in metrics if one["name"] == "KID"]
    return [*kid, *again] if only else [*metrics, *again]


def with_equal_counts() -> list[dict[str, Any]]:
    records = decided()
    for record in records:
        record["metrics"] = at_equal_counts(record["metrics"])
        for reference, only in (("real", True), ("noise", False)):
            own = record["references"][reference]
            own["metrics"] = at_equal_counts(own["metrics"], only=only)
    return records


def test_the_table_of_equal_counts_has_all_rows_and_no_tests():
    section = section_of(*with_equal_counts())
    found = {table.title: table for table in tables(section)}
    equal = found["Samples at equal counts (1,000 images against 797 real ones in every row)"]
    assert [column.header for column in equal.columns] == ["model", "FD ↓", "precision ↑"]
    assert [cell.text for cell in equal.columns[0].references] == ["real, held out", "uniform noise"]
    assert not any(cell.bold for column in equal.columns for cell in column.cells)
    main = found["Samples"]
    floor, ceiling = (cell.text for cell in main.columns[0].references)
    assert (floor, ceiling) == ("real, held out (1,000 images against 797)", "uniform noise")
    texts = {column.header: column.references[0].text for column in main.columns[1:]}
    assert {header for header, text in texts.items() if text not in ("–", "")} == {"KID(efficientnet-lite0) ↓"}
    assert rank(section).comparisons == rank(section_of(*decided())).comparisons
    assert any(line.startswith("Samples at equal counts: real images are too few") for line in caption(section))


def test_spoilt_images_bar_a_column_by_their_score_at_equal_counts():
    found = rank(spoilt(with_equal_counts(), **{"precision at equal counts": 1.0}))
    assert list(found.barred) == ["precision"]


def test_a_table_of_equal_counts_must_have_them():
    records = with_equal_counts()
    records[0]["metrics"][-1]["n_real"] = 700
    with pytest.raises(UserError, match=r"n_real is 797 for .* and 700 for"):
        section_of(*records)


def test_a_note_that_a_model_s_score_has_is_not_said_again_of_a_reference():
    records = decided()
    for record in records:
        floor = record["references"]["real"]["metrics"]
        for one in (*record["metrics"], *floor):
            if one["name"] == "density":
                one["note"] = "balls reach far"
        floor[0]["note"] = "few images"
    lines = caption(section_of(*records))
    assert [line for line in lines if "balls" in line] == ["density(efficientnet-lite0): balls reach far."]
    assert "real, held out, FD(efficientnet-lite0): few images." in lines
