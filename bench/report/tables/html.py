"""HTML: a table that can be sorted, through a template that escapes every text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.content.numerals import NONE
from bench.report.tables.model import Cell, Table

# A number alone, or followed by what numerals.py adds: `1,234 ± 5`, `0.5 [0.4, 0.6]`, `47 %`, `34,177 (34,177)`.
_NUMBER = re.compile(
    r"([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(?:[±\[(%*†].*)?", re.DOTALL
)
# Half a surrogate pair cannot be encoded, a control character has no glyph, a bidirectional one reorders the text.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def environment(folder: Path) -> Environment:
    """Templates of a folder: every text is escaped, and an unprintable character is shown as U+FFFD."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


_TEMPLATES = environment(Path(__file__).parent)


def render(table: Table, id: str, caption: bool = True) -> Markup:
    """The table as a figure, its title shown or only told to readers who cannot see it.

    References stay at the foot when a reader sorts.
    """
    sorts = [[_sort(cell) for cell in column.cells] for column in table.shown]
    numeric = [_numeric(column.cells, own) for column, own in zip(table.shown, sorts, strict=True)]
    return Markup(
        _TEMPLATES.get_template("table.html").render(
            table=table,
            id=id,
            caption=caption and table.title,
            headers=[re.sub(r" (?=[↓↑]$)", "\u00a0", column.header) for column in table.shown],
            numeric=numeric,
            sort=_sort,
        )
    )


def leading_number(text: str) -> float | None:
    """1234.0 for `1,234 ± 5` and 47.0 for `47 %`; None for `not run`, `2 finished` and `50 decodes per image`."""
    found = _NUMBER.fullmatch(text.strip())
    return float(found.group(1).replace(",", "").replace("\u2212", "-")) if found else None


def _sort(cell: Cell) -> str:
    """The number to sort by, as text; empty if there is none."""
    key = leading_number(cell.text) if cell.value is None else cell.value
    return "" if key is None else repr(float(key))


def _numeric(cells: list[Cell], sorts: list[str]) -> bool:
    """Whether most entries are numbers, which sets the column flush right; a single `not run` does not change that."""
    told = [sort for cell, sort in zip(cells, sorts, strict=True) if cell.text not in ("", NONE)]
    return any(sorts) and 2 * sum(map(bool, told)) >= len(told)
