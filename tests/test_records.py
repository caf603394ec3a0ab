"""Records: written whole or not at all, checked when read, kept apart by folder, compared by configuration."""

from __future__ import annotations

import json
import math
import os
import re

import pytest

from bench import records
from bench.errors import UserError
from tests import fabricate


def test_what_is_written_is_read_back(tmp_path):
    data = fabricate.record(seed=3) | {"a field of a later version": [1, 2]}
    path = records.cell_folder(tmp_path, "digits", "ebm", 3) / "record.json"
    records.write_json(path, data)
    assert records.read(path) == data
    assert path == tmp_path / "cells/digits/ebm/seed-3/record.json"
    assert os.listdir(path.parent) == ["record.json"]  # no temporary file is left


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "record.json"
    records.write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        records.write_json(path, {"value": value})
    assert json.loads(path.read_text()) == {"value": 1}
    assert os.listdir(tmp_path) == ["record.json"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.md"
    records.write_text(path, "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


def test_who_reads_during_a_write_sees_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    records.write_json(path, {"value": 1})
    with open(path) as reader:
        records.write_json(path, {"value": 2})
        assert json.load(reader) == {"value": 1}
    assert json.loads(path.read_text()) == {"value": 2}


def test_read_all_sorts_by_dataset_model_and_seed(tmp_path):
    for dataset, model, seed in [("svhn", "ebm", 0), ("digits", "vae", 0), ("digits", "ebm", 10), ("digits", "ebm", 2)]:
        fabricate.cell(tmp_path, fabricate.record(dataset, model, seed), pictures=False)
    (tmp_path / "cells/digits/ebm/seed-7").mkdir()  # a cell that has not finished
    found = records.read_all(tmp_path)
    assert [(record.dataset, record.model, record.seed) for record in found] == [
        ("digits", "ebm", 2),
        ("digits", "ebm", 10),
        ("digits", "vae", 0),
        ("svhn", "ebm", 0),
    ]
    assert found[0].folder == tmp_path / "cells/digits/ebm/seed-2"


def test_accessors(tmp_path):
    fabricate.cell(tmp_path, fabricate.record(kid=0.25), pictures=False)
    fabricate.cell(tmp_path, fabricate.record(seed=1, diverged_at=812), pictures=False)
    finished, diverged = records.read_all(tmp_path)
    assert finished.finished
    assert finished.metric("KID")["value"] == 0.25
    assert finished.metric("no such metric") is None
    assert finished.curve("MSE by decodes")["mark"] == 100
    assert finished.curve("FD by chain length") is None
    assert finished.samples_per_second == 500.0
    assert not diverged.finished
    assert diverged.metric("KID") is None
    assert diverged.curve("MSE by decodes") is None
    assert diverged.samples_per_second is None
    assert diverged.stopped_at == 812


def _without(data, path):
    *parents, last = path.split(".")
    part = data
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    del part[last]
    return data


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("status", "field status is missing"),
        ("data.content_hash", "field data.content_hash is missing"),
        ("training.seconds", "field training.seconds is missing"),
        ("environment.device", "field environment.device is missing"),
        ("evaluation_seeds", "field evaluation_seeds is missing"),
        ("references", "field references is missing"),
        ("curves", "field curves is missing"),
        ("metrics.1.value", r"field metrics\[1\].value is missing"),
        ("metrics.1.group", r"field metrics\[1\].group is missing"),
        ("metrics.1.per_seed", r"field metrics\[1\].per_seed is missing"),
        ("metrics.1.interval", r"field metrics\[1\].interval is missing"),
        ("metrics.1.interval_of", r"field metrics\[1\].interval_of is missing"),
        ("references.floor.title", "field references.floor.title is missing"),
        ("references.ceiling.metrics.2.value", r"field references.ceiling.metrics\[2\].value is missing"),
        ("curves.0.x_label", r"field curves\[0\].x_label is missing"),
        ("curves.0.mark", r"field curves\[0\].mark is missing"),
        ("curves.0.log_x", r"field curves\[0\].log_x is null"),
        ("throughput.samples_per_second", "field throughput.samples_per_second is missing"),
        ("images.chain.rows", "field images.chain.rows is missing"),
        ("schema", "schema None"),
    ],
)
def test_a_missing_field_is_named(tmp_path, path, named):
    file = tmp_path / "seed-0" / "record.json"
    records.write_json(file, _without(fabricate.record(), path))
    with pytest.raises(UserError, match=named) as caught:
        records.read(file)
    assert str(file) in str(caught.value)
    assert "run the cell again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 1}, "schema 1, but this version reads 2"),
        ({"schema": 3}, "schema 3, but this version reads 2"),
        ({"evaluation_seeds": []}, r"field evaluation_seeds is \[\]"),
        ({"evaluation_seeds": [0, 0]}, r"field evaluation_seeds is \[0, 0\]"),
        ({"evaluation_seeds": [0, "1"]}, "not a list of one or more different integers"),
        ({"references": {"middle": {"title": "", "metrics": []}}}, "references.middle is none of floor, ceiling"),
        ({"status": "running"}, "status 'running'"),
        ({"parameters": "many"}, "field parameters"),
        ({"training_seed": True}, "field training_seed"),
        ({"metrics": [3]}, r"metrics\[0\] is not an object"),
        ({"images": {"samples": {"file": "../../secret.png", "rows": 1, "columns": 1}}}, "images.samples"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, named):
    file = tmp_path / "record.json"
    records.write_json(file, fabricate.record() | change)
    with pytest.raises(UserError, match=named):
        records.read(file)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("metrics.0.better", "more", r"metrics\[0\].better is 'more', none of lower, higher, none"),
        ("metrics.0.group", "other", r"metrics\[0\].group is 'other', none of samples, "),
        ("metrics.0.value", 0.5, r"metrics\[0\].value is 0.5, not the mean of per_seed"),
        ("metrics.0.per_seed", [51.0], r"metrics\[0\].per_seed is \[51.0\], not a number for each evaluation seed"),
        ("metrics.0.per_seed", [51.0, None], r"metrics\[0\].per_seed"),
        ("metrics.0.interval", [1.0], r"metrics\[0\].interval is \[1.0\], neither null nor \[low, high\]"),
        ("metrics.0.interval", [2.0, 1.0], r"metrics\[0\].interval"),
        ("metrics.1.name", "FD", r"metrics\[1\].name is 'FD', which stands twice"),
        ("metrics.1.label", "FD(efficientnet-lite0)", r"metrics\[1\].label is .*, which stands twice"),
        ("references.floor.metrics.0.per_seed", [1.0, 1.0], r"references.floor.metrics\[0\].per_seed"),
        ("curves.0.y", [1.0], r"curves\[0\] does not have as many numbers x as y"),
        ("curves.0.x", [], r"curves\[0\] does not have as many numbers x as y"),
        ("curves.0.mark", 0, r"curves\[0\] has an x or a mark of 0 or less on a logarithmic axis"),
        ("curves.0.mark", True, r"curves\[0\].mark is true"),
    ],
)
def test_a_wrong_value_deep_inside_is_named(tmp_path, path, value, named):
    data = fabricate.record()
    *parents, last = path.split(".")
    part = data
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[last] = value
    file = tmp_path / "record.json"
    records.write_json(file, data)
    with pytest.raises(UserError, match=named):
        records.read(file)


def test_an_infinite_number_is_refused(tmp_path):
    file = tmp_path / "record.json"
    records.write_json(file, fabricate.record())
    file.write_text(re.sub(r'("per_seed": \[\s*)[\d.]+', r"\g<1>1e999", file.read_text(), count=1))
    with pytest.raises(UserError, match=r"metrics\[0\].per_seed"):
        records.read(file)


@pytest.mark.parametrize("part", ["metrics", "references", "curves"])
def test_a_diverged_record_has_no_scores(tmp_path, part):
    file = tmp_path / "record.json"
    records.write_json(file, fabricate.record(diverged_at=7) | {part: fabricate.record()[part]})
    with pytest.raises(UserError, match=f"field {part} is not empty although the run diverged"):
        records.read(file)


@pytest.mark.parametrize("content", [b'{"schema": 2, "datas', b"", b"\xff\xfe", b"[1]", b'{"schema": NaN}'])
def test_damaged_json_is_one_line_with_the_remedy(tmp_path, content):
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"delete the folder .* and run the cell again") as caught:
        records.read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        records.read(tmp_path / "record.json")


def test_folder_names_are_safe_and_distinct():
    assert records.folder_name("fashion-mnist") == "fashion-mnist"
    names = ["folder:a/b", "folder:a-b", "folder-a-b", "..", ".", "", "a b", "package.module:factory", "x" * 300]
    folders = [records.folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all(folder and folder.strip(".") and not set(folder) & set("/\\: ") for folder in folders)
    assert max(map(len, folders)) < 100


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"ebm": {"steps": 20}}, {"ebm": {"steps": 50}}, "ebm.steps is 20 there and 50 here"),
        ({"a": 1, "b": {"c": "x", "d": 2}}, {"a": 1, "b": {"c": "y", "d": 3}}, 'b.c is "x" there and "y" here'),
        ({"a": 1}, {"a": 1, "b": 2}, "b is not set there and 2 here"),
        ({"a": 1, "b": None}, {"a": 1}, "b is null there and not set here"),
        ({"a": True}, {"a": 1}, "a is true there and 1 here"),
        ({"a": {"b": 1}}, {"a": 3}, 'a is {"b": 1} there and 3 here'),
        ({"a": [0.5, 0.9]}, {"a": (0.5, 0.9)}, None),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, None),
    ],
)
def test_first_difference(old, new, expected):
    assert records.first_difference(old, new) == expected
