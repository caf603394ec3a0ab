"""What a page is made of: tables of plain text, and headed blocks with text, a table and pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.report.content.numerals import NONE

# A number alone, or with what numerals.py writes after one: `1,234 ± 5`, `0.5 [0.4, 0.6]`, `47 %`, `34,177 (34,177)`.
_NUMBER = re.compile(
    r"([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(?:[±\[(%*†].*)?", re.DOTALL
)


@dataclass(frozen=True)
class Entry:
    """One cell of a table. `key` is the number to sort by; None: what `leading_number` finds in `text`, if anything."""

    text: str
    key: float | None = None
    bold: bool = False
    link: str = ""  # to a place on the page: `#section-1`

    @property
    def sort(self) -> str:
        """The number to sort by as text, or nothing."""
        key = leading_number(self.text) if self.key is None else self.key
        return "" if key is None else repr(float(key))


@dataclass(frozen=True)
class Table:
    """Columns and rows of plain text, never HTML; a row has as many entries as there are columns.

    `below` are rows that stay at the foot when a reader sorts: references, or numbers of other data. `caption` is a
    few words above the table, or nothing where the title of its block says enough; `notes` are sentences below it.
    ValueError for a row of another length, a programming error.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Entry, ...], ...]
    below: tuple[tuple[str | Entry, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in (*self.rows, *self.below):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}: a row of {len(row)} entries, but {len(self.columns)} columns"
                )

    @property
    def bodies(self) -> list[list[list[Entry]]]:
        """The rows that a reader may sort, then those that stay below them; every entry an Entry."""
        return [[[_entry(cell) for cell in row] for row in rows] for rows in (self.rows, self.below) if rows]

    @property
    def numeric(self) -> list[bool]:
        """For each column whether it holds numbers: it is set flush right."""
        columns = zip(*([_entry(cell) for cell in row] for row in self.rows), strict=True)
        found = [any(one.sort for one in cells) and _numbers(cells) for cells in columns]
        return found or [False] * len(self.columns)


@dataclass(frozen=True)
class Block:
    """A headed part of the page that others add: text (blank lines part paragraphs), a table, pictures."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: tuple[Path, ...] = ()


def leading_number(text: str) -> float | None:
    """1234.0 of `1,234 ± 5` and 47.0 of `47 %`; None of `not run`, `2 finished` and `50 decodes per image`."""
    found = _NUMBER.fullmatch(text.strip())
    return float(found.group(1).replace(",", "").replace("\u2212", "-")) if found else None


def _entry(cell: str | Entry) -> Entry:
    return cell if isinstance(cell, Entry) else Entry(cell)


def _numbers(cells: tuple[Entry, ...]) -> bool:
    """Whether most of what is not missing is a number: `not run` among them changes nothing."""
    told = [one for one in cells if one.text not in ("", NONE)]
    return 2 * sum(bool(one.sort) for one in told) >= len(told)
