"""Records: written whole or not at all, checked when read, kept apart by folder, compared by configuration."""

from __future__ import annotations

import json
import math
import os

import pytest

from bench.errors import UserError
from bench.results import layout
from bench.results import record as records
from bench.storage import files
from tests import fabricate


def test_what_is_written_is_read_back(tmp_path):
    data = fabricate.record(seed=3) | {"a field of a later version": [1, 2]}
    path = layout.cell_folder(tmp_path, "digits", "ebm", 3) / "record.json"
    records.write_record(path, data)
    read = records.read(path)
    assert len(read.pop("checksum")) == 64
    assert read == data
    assert path == tmp_path / "cells/digits/ebm/seed-3/record.json"
    assert os.listdir(path.parent) == ["record.json"]  # no temporary file is left


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "scores.json"
    files.write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"value": value})
    assert json.loads(path.read_text()) == {"value": 1}
    assert os.listdir(tmp_path) == ["scores.json"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.md"
    files.write_text(path, "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


def test_who_reads_during_a_write_sees_the_old_file(tmp_path):
    path = tmp_path / "scores.json"
    files.write_json(path, {"value": 1})
    with open(path) as reader:
        files.write_json(path, {"value": 2})
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


def test_a_record_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        records.read(tmp_path / "record.json")


def test_folder_names_are_safe_and_distinct():
    assert layout.folder_name("fashion-mnist") == "fashion-mnist"
    names = ["folder:a/b", "folder:a-b", "folder-a-b", "..", ".", "", "a b", "package.module:factory", "x" * 300]
    folders = [layout.folder_name(name) for name in names]
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
