"""Records: written whole or not at all, checked when read, kept apart by folder, compared by configuration."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results import layout
from bench.results import record as records
from bench.results.cell_folder import CellFolder, read_all
from bench.storage import files
from tests import fabricate

ROOT = Path(__file__).parent.parent


def test_what_is_written_is_read_back(tmp_path):
    data = fabricate.record(seed=3) | {"a field of a later version": [1, 2]}
    path = CellFolder(tmp_path, "digits", "ebm", 3).record_path
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
    found = read_all(tmp_path)
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
    finished, diverged = read_all(tmp_path)
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
    assert [layout.folder_name(folder) for folder in folders] == folders  # of whoever finds the folder alone


@pytest.mark.parametrize("dataset", ["digits", "folder:my/birds", "x" * 300, "folder:" + "y" * 70])
def test_a_cell_is_found_by_its_folder(tmp_path, dataset):
    cell = CellFolder(tmp_path, dataset, "package.module:factory", 12)
    assert CellFolder.all_in(tmp_path) == []
    cell.path.mkdir(parents=True)
    (found,) = CellFolder.all_in(tmp_path)
    assert (found.path, found.seed, found.out) == (cell.path, 12, tmp_path)
    assert found.lock().lock_file == cell.lock().lock_file


@pytest.mark.parametrize("name", ["seed-0.old", "seed-", "seed-00", "seed--1", "seed-\u0663", "seed-x", "other"])
def test_a_folder_that_was_moved_away_is_no_cell(tmp_path, name):
    """`move the folder away` is the remedy that messages name: beside the others is away."""
    for seed in (0, 10, 2):
        fabricate.cell(tmp_path, fabricate.record(seed=seed), pictures=False)
    away = tmp_path / "cells/digits/ebm" / name
    (tmp_path / "cells/digits/ebm/seed-10").rename(away)
    (away / "record.json").write_text("{")
    assert [cell.seed for cell in CellFolder.all_in(tmp_path)] == [0, 2]
    assert [record.seed for record in read_all(tmp_path)] == [0, 2]
    assert CellFolder.at(away) is None
    assert CellFolder.at(Path("seed-0")) is None


def test_a_finished_cell_is_taken_over_with_its_record_and_without_what_training_left(tmp_path):
    source = fabricate.cell(tmp_path / "there", fabricate.record())
    there = CellFolder.at(source)
    for path in (there.checkpoint_path, there.previous_path, there.status_path, source / ".log.csv.7.tmp"):
        path.write_bytes(b"left")
    there.grid_path(5).parent.mkdir()
    there.grid_path(5).write_bytes(b"grid")
    here = CellFolder(tmp_path / "here", "digits", "ebm", 0)
    here.path.mkdir(parents=True)
    here.checkpoint_path.write_bytes(b"of a run that was broken off")
    with here.held():
        assert not here.take_over(there.read_record())  # somebody works on it
    assert here.take_over(there.read_record())
    kept = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.read_bytes() != b"left"}
    assert {path.relative_to(here.path) for path in here.path.rglob("*") if path.is_file()} == kept
    assert all((here.path / name).read_bytes() == (source / name).read_bytes() for name in kept)
    assert not here.take_over(there.read_record())  # it is there


@pytest.mark.parametrize(("status", "checkpoints"), [("finished", 0), ("diverged", 2), ("oom", 2)])
def test_a_recorded_cell_keeps_checkpoints_only_of_a_training_that_failed(tmp_path, status, checkpoints):
    cell = CellFolder(tmp_path, "digits", "ebm", 0)
    cell.path.mkdir(parents=True)
    for path in (cell.checkpoint_path, cell.previous_path, cell.status_path):
        path.write_bytes(b"x")
    cell.finish(fabricate.record(diverged_at=None if status == "finished" else 7) | {"status": status})
    assert cell.read_record().data["status"] == status
    assert not cell.status_path.exists()
    assert cell.checkpoint_path.exists() + cell.previous_path.exists() == checkpoints


def test_the_committed_reference_can_be_read():
    """Records of this schema written before now: fields that are no longer written, such as `attempts`, pass."""
    folders = [path.parent for path in sorted((ROOT / "results" / "reference").rglob("cells"))]
    found = [record for folder in folders for record in read_all(folder)]
    assert found
    assert all(record.finished for record in found)
    assert any("attempts" in record.data for record in found)


def test_a_bounded_file_is_read_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_bounded(path, 5) == b"12345"
    with pytest.raises(files.TooLargeError, match="more than 4 bytes"):
        files.read_bounded(path, 4)
    with pytest.raises(FileNotFoundError):
        files.read_bounded(tmp_path / "absent", 5)
    with pytest.raises(IsADirectoryError):
        files.read_bounded(tmp_path, 5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    for path in (tmp_path / "record.json", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            files.read_bounded(path, 5)
    with pytest.raises(UserError, match="not a regular file"):
        records.read(tmp_path / "record.json")


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
