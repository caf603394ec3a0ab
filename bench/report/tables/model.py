"""The table model of all reports: columns of cells. markdown.py, latex.py, csv.py and html.py each render it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bench.report.content.numerals import number, plus_minus
from bench.report.content.rows import Summary


@dataclass(frozen=True)
class Cell:
    """The text that a reader sees, and what a format needs beside it. None of it is ever markup."""

    text: str = ""
    value: float | Decimal | None = None  # the number that the text rounds; the page sorts by it
    bold: bool = False  # best of its column beyond chance
    link: str = ""  # to a place on a page: `#section-1`
    fields: Mapping[str, Any] | None = None  # of a CSV file, by name; None: the value or else the text, by the header

    @classmethod
    def of(cls, value: float | None) -> Cell:
        """A number, or a dash."""
        return cls(number(value), value)

    @classmethod
    def mean(cls, summary: Summary | None, text: str = "", **more: Any) -> Cell:
        """A mean over seeds, as `text` if there is any: `mean ± half` otherwise."""
        return cls(text or plus_minus(summary), summary.mean if summary else None, **more)


@dataclass(frozen=True)
class Column:
    """A header, a cell per row, and a cell per reference row; the latter are set apart below."""

    header: str
    cells: list[Cell]
    references: list[Cell] = field(default_factory=list)
    role: str = ""  # of a score: `ranked`, `describes`, `barred: blurred images win`


@dataclass(frozen=True)
class Table:
    """Columns of equal length. `notes` are the sentences below the table, `name` is the stem of its files."""

    title: str
    columns: list[Column]
    notes: tuple[str, ...] = ()
    name: str = ""

    @classmethod
    def of_rows(cls, title: str, headers: Iterable[str], rows: Iterable[Iterable[str | Cell]], **more: Any) -> Table:
        """A table from rows of texts and cells; ValueError if a row does not have one entry per header."""
        names, parted = list(headers), [[one if isinstance(one, Cell) else Cell(one) for one in row] for row in rows]
        for row in parted:
            if len(row) != len(names):
                raise ValueError(f"table {title!r}: a row of {len(row)} entries, but {len(names)} columns")
        return cls(title, [Column(name, [row[k] for row in parted]) for k, name in enumerate(names)], **more)

    @property
    def rows(self) -> list[list[Cell]]:
        """The cells that are shown, row by row."""
        return [list(row) for row in zip(*(column.cells for column in self.columns), strict=True)]

    @property
    def below(self) -> list[list[Cell]]:
        """The cells of the reference rows, row by row."""
        return [list(row) for row in zip(*(column.references for column in self.columns), strict=True)]
