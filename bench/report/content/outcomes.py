"""How each cell ended or how far it is: what a table says about cells that have no scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.results.cell_folder import CellFolder
from bench.results.layout import folder_name
from bench.results.record import Record
from bench.results.status import status_text


@dataclass(frozen=True)
class Absent:
    """A cell without a record. Its names are its folder's if no record in the results folder has the true ones."""

    dataset: str
    model: str
    seed: int  # of training
    status: str  # `not run`, `training, update 300 of 1000`, `interrupted at update 300`


def absent(root: Path, records: Sequence[Record]) -> list[Absent]:
    """The cells without a record: those with a folder, and those that are expected because of a data set's other cells.

    All models of a data set are expected with all its training seeds; nothing else says what a run was to contain.
    """
    names = {folder_name(name): name for record in records for name in (record.dataset, record.model)}
    there = {(record.dataset, record.model, record.seed) for record in records}
    found: dict[tuple[str, str, int], str] = {}
    for folder in CellFolder.all_in(root):
        cell = names.get(folder.dataset, folder.dataset), names.get(folder.model, folder.model), folder.seed
        if cell not in there:
            found[cell] = status_text(folder.live_status())
    known = there | found.keys()
    for dataset in {dataset for dataset, _, _ in known}:
        models = {model for name, model, _ in known if name == dataset}
        seeds = {seed for name, _, seed in known if name == dataset}
        for cell in {(dataset, model, seed) for model in models for seed in seeds} - known:
            found[cell] = status_text(CellFolder(root, *cell).live_status())
    return [Absent(*cell, status) for cell, status in sorted(found.items())]


def outcome(*records: Record) -> str:
    """How cells of one status ended: `finished`, `diverged at update 812`, `diverged at updates 7, 812`."""
    if records[0].made_elsewhere:
        return "made elsewhere"
    if records[0].data["status"] != "diverged":
        return "finished" if records[0].finished else "out of memory"
    stops = ", ".join(str(record.stopped_at) for record in records)
    return f"diverged at update{'s' if len(records) > 1 else ''} {stops}"


def tally(records: Sequence[Record], cells: Sequence[Absent]) -> str:
    """A row's status: `2 finished, 1 diverged at update 812, 1 out of memory, 1 not run`."""
    every = [
        [record for record in records if record.data["status"] == status] for status in ("finished", "diverged", "oom")
    ]
    parts = [f"{len(same)} {outcome(*same)}" for same in every if same]
    parts += [f"{count} {status}" for status, count in Counter(cell.status for cell in cells).items()]
    return ", ".join(parts)
