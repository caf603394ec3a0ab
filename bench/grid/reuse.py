"""Finished cells of other results folders: copied where settings, images and machine are the same, never run again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from bench import data as datasets
from bench import features
from bench.errors import UserError
from bench.grid import grid
from bench.grid.cell import Cell, say
from bench.machine import runtime
from bench.results.layout import RECORD_NAME
from bench.results.locks import cell_lock, taken
from bench.results.record import Record, first_difference, read_all
from bench.storage.files import write_bytes

_LEFT = (RECORD_NAME, "status.json")  # of a cell's files; the record is written last


def read_sources(roots: Iterable[Path]) -> list[Record]:
    """The finished records of results folders, and of the folders of paper runs. UserError where there is none."""
    found = []
    for root in roots:
        own = [record for folder in (root, *sorted(root.glob("*/"))) for record in read_all(folder)]
        if not own:
            raise UserError(f"--reuse {root}: there are no records: give a results folder")
        found += [record for record in own if record.finished]
    return found


def copy(request: grid.Request, sources: Sequence[Record]) -> int:
    """Copy the cells that the request needs and does not have yet; how many were found."""
    missing = [cell for cell in grid.plan(request) if not (cell.folder / RECORD_NAME).exists()] if sources else []
    candidates = [(cell, found) for cell in missing if (found := [one for one in sources if _named(cell, one)])]
    if not candidates:
        return 0
    runtime.configure(request.threads)
    device = runtime.resolve_device(request.device)
    label = features.resolve(request.features, device=device, weights=request.extractor_weights).label
    hashes: dict[str, str] = {}
    copied = 0
    for cell, records in candidates:
        refused = ""
        for record in records:
            differs = _difference(cell, record, label, device)
            if not differs and cell.source not in hashes:
                hashes[cell.source] = _content_hash(cell, request)
            if not differs and hashes[cell.source] != record.data["data"]["content_hash"]:
                differs = "its images are others"
            if not differs:
                if _copy(request.out, cell, record):
                    say(f"reused: {record.path}")
                    copied += 1
                break
            refused = refused or f"not reused: {record.path}: {differs}"
        else:
            say(refused + (f" (nor {len(records) - 1} others)" if len(records) > 1 else ""))
    return copied


def _named(cell: Cell, record: Record) -> bool:
    return (cell.dataset, cell.model, cell.seed) == (record.dataset, record.model, record.seed)


def _difference(cell: Cell, record: Record, extractor: str, device: torch.device) -> str | None:
    """Why the record is not this cell's; another machine's would stand in a table of its own."""
    here = runtime.environment(device)
    there = record.data["environment"]
    return first_difference(record.data["config"], cell.settings(extractor)) or first_difference(
        {name: there.get(name) for name in ("device", "threads")}, {name: here[name] for name in ("device", "threads")}
    )


def _content_hash(cell: Cell, request: grid.Request) -> str:
    return datasets.load(cell.source, request.data_root, cell.data, progress=request.progress).content_hash


def _copy(out: Path, cell: Cell, record: Record) -> bool:
    """Copy the cell's folder, its record last; False where it is there by now, or another process works on it."""
    lock = cell_lock(out, cell.dataset, cell.model, cell.seed)
    if not taken(lock):
        return False
    try:
        if (cell.folder / RECORD_NAME).exists():
            return False
        shutil.rmtree(cell.folder, ignore_errors=True)  # a run that was broken off: the record is a whole one's
        for path in sorted(record.folder.rglob("*")):
            if path.is_file() and path.name not in _LEFT and not path.name.startswith((".", "checkpoint")):
                target = cell.folder / path.relative_to(record.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        write_bytes(cell.folder / RECORD_NAME, record.path.read_bytes())
    finally:
        lock.release()
    return True
