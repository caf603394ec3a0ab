"""What every engine does with prepared grids before and after it runs the missing cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench.grid import grid, say
from bench.grid.cell import Cell
from bench.grid.request import Request
from bench.machine import runtime
from bench.scoring.setup import Setup

Prepared = Sequence[tuple[Request, list[Cell]]]  # each request with its cells, as `grid.prepare` gives them


class Engine(Protocol):
    """Runs the cells of prepared grids."""

    @property
    def at_once(self) -> int:
        """Cells that may be trained side by side on the disk of --out."""

    def setup(self, setup: Setup) -> Setup:
        """The setup of one cell, from that of the command line."""

    def complete(self, prepared: Prepared, evaluators: grid.Evaluators) -> list[str]:
        """Run every cell that has no record; the status of all cells in order. It may empty `evaluators`."""


def begin(prepared: Prepared) -> int:
    """Tell of the cells that have a record, and announce the others; how many others there are."""
    missing = 0
    for _, cells in prepared:
        for i, cell in enumerate(cells):
            if cell.folder.has_record:
                say(f"{grid.title_of(cells, i)}: already there ({status_of(cell)})")
            else:
                missing += 1
        grid.announce(cells)
    return missing


def status_of(cell: Cell) -> str:
    """The status of a cell that has a record."""
    with cell.folder.held() as own:
        return grid.recorded(cell) if own else str(cell.folder.read_record().data["status"])


def statuses(prepared: Prepared) -> list[str]:
    """The status of every cell, in order; each has a record."""
    return [status_of(cell) for _, cells in prepared for cell in cells]


def titles(prepared: Prepared) -> list[str]:
    """A name for each cell, in order, with its results folder's where there are several."""
    several = len(prepared) > 1
    return [f"{cell.out.name} {cell.title}" if several else cell.title for _, cells in prepared for cell in cells]


def needed(prepared: Prepared) -> set[tuple[object, ...]]:
    """The keys of the evaluators that missing cells need."""
    return {
        grid.evaluator_key(cell, request) for request, cells in prepared for cell in cells if not cell.folder.has_record
    }


def pinned(setup: Setup) -> str:
    """The choice of the extractor that was taken here, for other processes: `auto` could take another one there."""
    return setup.extractor.name if setup.extractor_choice == "auto" else setup.extractor_choice


def tolerate_shortage(error: BaseException) -> None:
    """Raise an error that is no lack of memory; where it is one, a cell meets it too, and its record says so."""
    if not runtime.is_out_of_memory(error):
        raise error
