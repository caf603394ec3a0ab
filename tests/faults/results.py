"""What of two results folders must be equal, and what of one must not be there."""

from __future__ import annotations

import copy
import csv
import dataclasses
from pathlib import Path
from typing import Any

from bench.results.cell_folder import LOG, RECORD, CellFolder
from bench.results.record import read

_OF_THE_MOMENT = ("created", "command", "checksum", "throughput")


def same_cell(cell: CellFolder, out: Path) -> CellFolder:
    """The folder of the same cell in another results folder."""
    return dataclasses.replace(cell, out=out)


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what depends on when, and how fast, it was made."""
    kept = {name: copy.deepcopy(value) for name, value in record.items() if name not in _OF_THE_MOMENT}
    kept["training"].pop("seconds")
    for name in ("git_commit", "git_dirty"):
        kept["environment"].pop(name, None)
    return kept


def _log(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same_cell(one: Path, other: Path) -> None:
    """The same files; weights and pictures bit for bit, log and record in all that no clock decides."""
    names = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) for folder in (one, other)
    ]
    assert names[0] == names[1]
    assert {RECORD, LOG} <= set(names[0])
    for name in names[0]:
        if name == RECORD:
            assert comparable(read(one / name)) == comparable(read(other / name)), f"{one} and {other}"
        elif name == LOG:
            assert _log(one / name) == _log(other / name)
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes(), f"{one / name} and {other / name}"


def assert_same_results(one: Path, other: Path) -> None:
    """The same cells, all of them whole."""
    cells = CellFolder.all_in(one)
    assert [same_cell(cell, other) for cell in cells] == CellFolder.all_in(other)
    assert cells
    for cell in cells:
        assert_same_cell(cell.path, same_cell(cell, other).path)


def assert_nothing_left_over(out: Path) -> None:
    """No temporary file, and beside a record neither checkpoint nor status."""
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]
    for cell in CellFolder.all_in(out):
        if cell.has_record:
            left = cell.checkpoint_path, cell.previous_path, cell.status_path
            assert not any(path.exists() for path in left), cell.path
