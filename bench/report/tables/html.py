"""HTML: a table that can be sorted, through a template that escapes every text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bench.report.content import sentences
from bench.report.content.numerals import NONE
from bench.report.tables.model import Cell, Table

# Half a surrogate pair cannot be encoded, a control character has no glyph, a bidirectional one reorders the text.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def environment(folder: Path) -> Environment:
    """Templates of a folder: every text is escaped, and an unprintable character is shown as U+FFFD."""
    return sentences.environment(folder, {}, autoescape=True, finalize=_printable)


def _printable(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


_TEMPLATES = environment(Path(__file__).parent)


def render(table: Table, id: str, caption: bool = True) -> Markup:
    """The table as a figure, its title shown or only told to readers who cannot see it.

    References stay at the foot when a reader sorts.
    """
    return Markup(
        _TEMPLATES.get_template("table.html").render(
            table=table,
            id=id,
            caption=caption and table.title,
            headers=[re.sub(r" (?=[↓↑]$)", "\u00a0", column.header) for column in table.columns],
            numeric=[_numeric(column.cells) for column in table.columns],
            sort=lambda cell: "" if cell.value is None else repr(float(cell.value)),
        )
    )


def _numeric(cells: list[Cell]) -> bool:
    """Whether most entries are numbers, which sets the column flush right; a single `not run` does not change that."""
    told = [cell.value is not None for cell in cells if cell.text not in ("", NONE)]
    return 2 * sum(told) >= len(told) > 0
