"""Finished cells of other results folders: copied where settings, images and machine are the same, never run again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from bench.errors import UserError
from bench.grid import say
from bench.grid.cell import Cell
from bench.grid.request import Request, plan
from bench.machine import runtime
from bench.results.cell_folder import read_all
from bench.results.record import Record, first_difference


def read_sources(roots: Iterable[Path]) -> list[Record]:
    """The finished records of results folders, and of the folders of paper runs. UserError where there is none."""
    found = []
    for root in roots:
        own = [record for folder in (root, *sorted(root.glob("*/"))) for record in read_all(folder)]
        if not own:
            raise UserError(f"--reuse {root}: there are no records: give a results folder")
        found += [record for record in own if record.finished]
    return found


def copy(request: Request, sources: Sequence[Record]) -> int:
    """Copy the cells that the request needs and does not have yet; how many were found."""
    missing = [cell for cell in plan(request) if not cell.folder.has_record] if sources else []
    candidates = [(cell, found) for cell in missing if (found := [one for one in sources if _named(cell, one)])]
    if not candidates:
        return 0
    device, label = request.setup.configure(), request.setup.extractor.label
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
                if cell.folder.take_over(record):
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
    here, there = runtime.environment(device), record.data["environment"]
    names = ("device", "threads", "ranks")
    return first_difference(record.data["config"], cell.settings(extractor)) or first_difference(
        {name: there.get(name) for name in names}, {name: here.get(name) for name in names}
    )


def _content_hash(cell: Cell, request: Request) -> str:
    return request.setup.images(cell.source, cell.data).content_hash
