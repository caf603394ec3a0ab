"""Attempts at a cell that diverges: what was tried, with which settings, so that no retry is silent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records import write_json

if TYPE_CHECKING:
    from bench.cell import Cell

ATTEMPTS = "attempts.json"  # in the folder of a cell that has no record yet


@dataclass(frozen=True)
class Attempt:
    """One that diverged, as it stands in the record."""

    message: str
    updates: int
    config: dict[str, Any]  # the record's `config.model` of this attempt

    @classmethod
    def of(cls, cell: Cell, message: str, updates: int) -> Attempt:
        return cls(message, updates, cell.model_settings())


def gentler(cell: Cell, times: int) -> Cell | None:
    """The cell with its model's settings made gentler so many times; None where the model has no gentler ones."""
    for _ in range(times):
        config = cell.config.gentler()
        if config is None:
            return None
        cell = replace(cell, config=config)
    return cell


def changes(cell: Cell, times: int) -> str:
    """The settings of that attempt that differ from those asked for: `lr=0.0005, sigma=0.09`."""
    other = gentler(cell, times)
    asked, tried = asdict(cell.config), asdict(other.config if other else cell.config)
    return ", ".join(f"{name}={tried[name]:g}" for name in asked if tried[name] != asked[name])


def read(folder: Path) -> list[Attempt]:
    """The attempts so far at the cell in `folder`. UserError for a damaged file."""
    path = folder / ATTEMPTS
    if not path.exists():
        return []
    try:
        found = [Attempt(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
        if not all(
            (type(one.message), type(one.updates), type(one.config)) == (str, int, dict) and one.updates >= 0
            for one in found
        ):
            raise ValueError("a field has the wrong type")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): delete the folder {folder} and run the cell again") from None
    return found


def write(folder: Path, attempts: list[Attempt]) -> None:
    write_json(folder / ATTEMPTS, [asdict(one) for one in attempts])


def clear(folder: Path) -> None:
    (folder / ATTEMPTS).unlink(missing_ok=True)
