"""GitHub's Markdown, with columns aligned for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import east_asian_width

from bench.report.tables.model import Cell, Table


def escape(text: str) -> str:
    """Text that GitHub shows literally, also in a table cell."""
    return re.sub(r"([\\`*_|<>&\[\]~$])", r"\\\1", " ".join(text.split()))


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def render(table: Table, level: int) -> str:
    """The title as a heading of that level, the table, with the references below a blank row, and its notes."""
    header = [escape(column.header) for column in table.columns]
    gap = [[""] * len(header)] if table.below else []  # Markdown has no rule inside a table
    rows = [header, *map(_texts, table.rows), *gap, *map(_texts, table.below)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [_pad(text, width, right=k > 0) for k, (text, width) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, f"| {' | '.join(rules)} |")
    parts = [f"{'#' * level} {escape(table.title)}", "\n".join(lines), bullets(table.notes)]
    return "\n\n".join(part for part in parts if part)


def _texts(row: list[Cell]) -> list[str]:
    return [f"**{escape(cell.text)}**" if cell.bold else escape(cell.text) for cell in row]


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
