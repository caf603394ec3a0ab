"""CSV: a line per row and reference, in full precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bench.report.tables.model import Table


def render(lines: Iterable[Mapping[str, Any]]) -> str:
    """The lines below a header of all their fields; a field that a line does not have is empty in it."""
    return pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n")


def lines_of(table: Table) -> Iterable[dict[str, Any]]:
    """The lines of a table: of each cell its fields, else its value or its text, by the header of its column."""
    for row in [*table.rows, *table.below]:
        line: dict[str, Any] = {}
        for column, cell in zip(table.columns, row, strict=True):
            line |= cell.fields or {column.header: cell.text if cell.value is None else cell.value}
        yield line
