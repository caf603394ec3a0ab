"""The Inception Score of images that are no natural ones: left out, or shown where it is asked for, without a rank."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.data import DATASETS, DataConfig, load
from bench.data import _source as source_of
from bench.errors import UserError
from bench.metrics import METRICS, chosen
from tests.evaluation_builders import Scaled, by_name, data, evaluator


def scores(natural: bool, **settings):
    images = replace(data(held_out=20, spare=44), natural=natural)
    return by_name(evaluator(images, **settings).evaluate(Scaled(), (0,)).scores)


def test_which_data_sets_are_natural(tmp_path):
    assert {name for name in DATASETS if not source_of(name).natural} == {"digits", "fashion-mnist"}
    assert not load("digits", tmp_path, DataConfig(), progress=False).natural


def test_without_names_it_is_left_out_of_images_that_are_not_natural():
    natural, other = scores(True), scores(False)
    assert set(natural) - set(other) == {"IS"}
    assert all(natural[name].value == one.value for name, one in other.items())
    assert list(chosen((), natural=False)) == [name for name in METRICS if name != "IS"]


def test_where_it_is_named_it_describes():
    natural, other = (scores(each, metrics=("KID", "IS")) for each in (True, False))
    assert natural["IS"].value == other["IS"].value
    assert (natural["IS"].better, other["IS"].better, other["KID"].better) == ("higher", "none", "lower")
    assert other["IS"].note.endswith("it describes, and can fall where samples become better")
    assert "natural" not in natural["IS"].note


def test_what_describes_cannot_lead():
    images = replace(data(held_out=20, spare=44), natural=False)
    evaluator(replace(images, natural=True), metrics=("KID", "IS"), lead="IS")
    with pytest.raises(UserError, match=r"evaluation.lead='IS' decides nothing here: choose one of KID$"):
        evaluator(images, metrics=("KID", "IS"), lead="IS")
