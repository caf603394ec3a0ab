"""CSV: a line per row and reference, in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from bench.report.tables.model import Cell, Column, Table


def render(tables: Iterable[Table]) -> str:
    """The rows of all tables; a field that a table does not have is empty in its rows."""
    lines = [line for table in tables for line in _lines(table)]
    text = io.StringIO()
    names = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _lines(table: Table) -> Iterable[dict[str, Any]]:
    for cells in zip(*([*column.cells, *column.references] for column in table.columns), strict=True):
        yield {k: v for column, cell in zip(table.columns, cells, strict=True) for k, v in _fields(column, cell)}


def _fields(column: Column, cell: Cell) -> Iterable[tuple[str, Any]]:
    if cell.fields is not None:
        return cell.fields.items()
    return [(column.header, cell.text if cell.value is None else cell.value)]
