"""Attempts at a cell that diverges: what was tried, with which settings, so that no retry is silent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, one_line
from bench.records import write_json

if TYPE_CHECKING:
    from bench.cell import Cell

ATTEMPTS = "attempts.json"  # in the folder of a cell that has no record yet
LARGEST = 1 << 20  # bytes; a longer file is damaged


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
    try:
        with open(path, "rb") as file:
            return parse(file.read(LARGEST + 1), path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _damaged(path, error.strerror or error) from None


def parse(content: bytes, path: Path) -> list[Attempt]:
    """The attempts that the file `content` holds; `path` is for messages. UserError for anything else."""
    try:
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST:,} bytes")
        found = [Attempt(**one) for one in json.loads(content.decode("utf-8"))]
        if not all(
            (type(one.message), type(one.updates), type(one.config)) == (str, int, dict) and 0 <= one.updates < 2**63
            for one in found
        ):
            raise ValueError("a field has the wrong type")
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from None
    return found


def _damaged(path: Path, what: object) -> UserError:
    return UserError(f"{path} is damaged ({one_line(what)}): delete the folder {path.parent} and run the cell again")


def write(folder: Path, attempts: list[Attempt]) -> None:
    write_json(folder / ATTEMPTS, [asdict(one) for one in attempts])


def clear(folder: Path) -> None:
    (folder / ATTEMPTS).unlink(missing_ok=True)
