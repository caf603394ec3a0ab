"""index.html: a results folder as one page to read, which opens from disk and asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.report.content import blocks, captions, summary
from bench.report.content.sections import Section
from bench.report.page import cells, embed, figures
from bench.report.page.elements import Block as Block
from bench.report.page.elements import Entry as Entry
from bench.report.page.elements import Table as Table
from bench.storage.files import write_text

NAME = "index.html"
TITLE = "Comparison of generative models"
_TEMPLATES = Path(__file__).parent / "templates"
# Half a surrogate pair cannot be encoded, a control character has no glyph, a bidirectional one reorders what follows.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def write(
    root: Path,
    sections: Sequence[Section],
    extra: Sequence[Block] = (),
    *,
    plots: Iterable[Path] | None = None,
    further: Sequence[Section] = (),
    title: str = TITLE,
    intro: str = "",
) -> list[Path]:
    """Write root/index.html; its path, alone in a list. The same records and pictures give the same bytes.

    `extra` stands between the summary and the sections; of the sections `further` only the cells are listed. `plots`
    are the sections' pictures, by default every PNG in `root / section.folder`; one that cannot be read is named in its
    place. OSError: the page cannot be written.
    """
    if plots is None:
        plots = [path for section in sections for path in sorted((root / section.folder).glob("*.png"))]
    everything = cells.described(root, [*sections, *further])
    write_text(root / NAME, render(sections, extra, everything, plots=list(plots), title=title, intro=intro))
    return [root / NAME]


def render(
    sections: Sequence[Section],
    extra: Sequence[Block],
    everything: Sequence[cells.Described],
    *,
    plots: list[Path],
    title: str,
    intro: str,
) -> str:
    """The page as text: HTML whose only code and style are the two files beside the template, allowed by hash."""
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            intro=_paragraphs(intro),
            policy=_policy(style, script),
            style=Markup(style),  # the project's own file, as is the script: nothing of a record is in them
            script=Markup(script),
            sections=[_section(number, section, plots) for number, section in enumerate(sections, start=1)],
            extra=[_block(number, block) for number, block in enumerate(extra, start=1)],
            cells=everything,
            cells_table=cells.table(everything),
            finished=sum(cell.state == "finished" for cell in everything),
        )
    )


def _section(number: int, section: Section, plots: list[Path]) -> dict[str, Any]:
    return {
        "id": f"section-{number}",
        "title": section.title,
        "verdict": summary.verdict(section),
        "tables": [_table(block) for block in blocks.blocks(section)],
        "reading": captions.reading(section),
        "protocol": captions.protocol(section),
        "figures": [(figure, embed.picture(figure.path)) for figure in figures.figures(section, plots)],
    }


def _table(block: blocks.Block) -> Table:
    """A block of the tables, transposed."""
    above = zip(*(map(_entry, column.cells) for column in block.columns), strict=True)
    below = zip(*(map(_entry, column.references) for column in block.columns), strict=True)
    headers = tuple(re.sub(r" (?=[↓↑]$)", "\u00a0", column.header) for column in block.columns)
    return Table(block.title, headers, tuple(above), tuple(below))


def _entry(cell: blocks.Cell) -> Entry:
    return Entry(cell.text, cell.key, cell.bold)


def _block(number: int, block: Block) -> dict[str, Any]:
    shown = []
    for path in block.pictures:
        name = figures.words(path)
        shown.append((figures.Figure(path, name, "", f"{block.title}: {name}"), embed.picture(path)))
    return {
        "id": f"part-{number}",
        "title": block.title,
        "paragraphs": _paragraphs(block.text),
        "table": block.table,
        "figures": shown,
    }


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows the page's own style and script, pictures inside it, and nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    return environment


def _printable(value: Any) -> Any:
    """Text without what no reader should meet, each such character as U+FFFD."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value
