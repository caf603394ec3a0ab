"""Which records share a table: protocols are kept apart, seeds and outcomes are not."""

from __future__ import annotations

import pytest

from bench.errors import UserError
from bench.report.tables import files
from tests import fabricate
from tests.fabricate import sections_of


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
        {("metrics", 9, "points"): 5},
        {("metrics", 1, "resize"): 299},
        {("metrics", 1, "weights_hash"): "another"},
        {("metrics", 10, "budget"): 300},
        {("config", "evaluation", "features"): "inception"},
        {("config", "data", "image_size"): 16},
        {("data", "content_hash"): "other images"},
        {("environment", "device"): "Another CPU"},
        {("throughput", "threads"): 1},
    ],
    ids=lambda change: ".".join(map(str, next(iter(change)))),
)
def test_other_protocols_stand_apart(change):
    sections = sections_of(fabricate.record(seed=0), _changed(1, change), fabricate.record(seed=2))
    assert [[record.seed for record in section.records] for section in sections] == [[0, 2], [1]]
    text = files.as_markdown(sections)
    assert "## digits (protocol 1 of 2)" in text
    assert "## digits (protocol 2 of 2)" in text


def test_the_evaluation_seed_does_not_part_a_table():
    changed = _changed(1, {("evaluation_seeds",): [1, 2], ("config", "evaluation", "seeds"): [1, 2]})
    (section,) = sections_of(fabricate.record(seed=0), changed)
    assert "evaluation seeds 0, 1 or 1, 2" in files.as_markdown([section])


def test_other_counts_stand_apart():
    sections = sections_of(fabricate.record(seed=0), fabricate.record(seed=1, n_generated=5000))
    assert [[record.seed for record in section.records] for section in sections] == [[0], [1]]


@pytest.mark.parametrize("field", ["n_generated", "n_real"])
def test_columns_of_one_table_that_count_other_images_are_refused(field):
    mixed = _changed(1, {("metrics", 4, field): 500})
    with pytest.raises(UserError, match=rf"cells/1/record.json: {field} is .* and 500 for precision") as caught:
        sections_of(fabricate.record(seed=0), mixed)
    assert "runs the cell again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_outcome_does_not_part_a_table_and_its_note_names_the_model():
    left_out = {"n": 60, "spread_of": "60 pairs", "note": "4 paths with equal ends left out"}
    fewer = fabricate.record(model="vae")
    fewer["metrics"][12] |= left_out
    (section,) = sections_of(fabricate.record(), fewer)
    text = files.as_markdown([section])
    assert "interpolation length ratio (vae): 4 paths with equal ends left out." in text
    assert "interpolation length ratio: mean over 64 paths or 60 pairs, 9 points on each path." in text


def test_a_diverged_run_joins_its_models_section():
    dead = fabricate.record(seed=1, diverged_at=5)
    first, second = fabricate.record(seed=0, n_generated=5000), fabricate.record(seed=2)
    sections = sections_of(first, dead, second)
    assert [[record.seed for record in section.records] for section in sections] == [[0], [1, 2]]


def test_two_configurations_of_one_model_get_two_rows():
    longer = _changed(1, {("config", "model", "steps"): 50})
    (section,) = sections_of(fabricate.record(seed=0), longer, fabricate.record(seed=2))
    assert [(row.label, [record.seed for record in row.records]) for row in section.rows] == [
        ("ebm (steps=20)", [0, 2]),
        ("ebm (steps=50)", [1]),
    ]


def test_the_same_cell_twice_is_refused():
    with pytest.raises(UserError, match="both hold digits, ebm, training seed 4; move one") as caught:
        sections_of(fabricate.record(seed=4), fabricate.record(seed=4))
    assert "cells/0" in str(caught.value)
    assert "cells/1" in str(caught.value)


def test_a_score_that_one_seed_lacks_states_its_count():
    partial = fabricate.record(seed=1)
    del partial["metrics"][9]
    assert r"0.0200 \[0.0180, 0.0220\] (n = 1)" in files.as_markdown(sections_of(fabricate.record(seed=0), partial))
