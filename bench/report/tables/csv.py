"""CSV: a line per row and reference, in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from bench.report.tables.model import Table


def render(lines: Iterable[Mapping[str, Any]]) -> str:
    """The lines below a header of all their fields; a field that a line does not have is empty in it."""
    lines, text = list(lines), io.StringIO()
    names = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def lines_of(table: Table) -> Iterable[dict[str, Any]]:
    """The lines of a table: of each cell its fields, else its value or its text, by the header of its column."""
    for row in [*table.rows, *table.below]:
        line: dict[str, Any] = {}
        for column, cell in zip(table.columns, row, strict=True):
            line |= cell.fields or {column.header: cell.text if cell.value is None else cell.value}
        yield line
