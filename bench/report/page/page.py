"""index.html: a results folder as one page, which opens from disk and loads nothing from a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bench.report.content import captions, sentences, summary
from bench.report.content.sections import Section
from bench.report.page import cells, embed
from bench.report.plots import style
from bench.report.plots.curves import file_name
from bench.report.tables import html, scores
from bench.report.tables.files import TITLE
from bench.report.tables.model import Table
from bench.storage.files import write_text

NAME = "index.html"
_TEMPLATES = Path(__file__).parent / "templates"
_CURVE = (
    "A line per model, the mean over training seeds with its 95 % interval; dotted, the setting in use; "
    "broken, the same model untrained."
)


@dataclass(frozen=True)
class Chapter:
    """A chapter that another program adds to the page: text (blank lines separate paragraphs), a table, pictures."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: tuple[Path, ...] = ()


@dataclass(frozen=True)
class CaptionedPicture:
    """A file with a title and a caption of one paragraph; `alt` replaces it where it cannot be seen."""

    path: Path
    title: str
    caption: str
    alt: str


def write(
    root: Path,
    sections: Sequence[Section],
    chapters: Sequence[Chapter] = (),
    *,
    plots: Iterable[Path] | None = None,
    further: Sequence[Section] = (),
    title: str = TITLE,
    intro: str = "",
) -> list[Path]:
    """Write root/index.html and return its path, alone in a list. The same records and pictures give the same bytes.

    `chapters` come between the summary and the sections. For the sections `further`, only the cells are listed. `plots`
    are the sections' pictures, by default every PNG in `root / section.folder`; a picture that cannot be read is named
    in its place. The page's only code and style are the two files beside the template, allowed by their hashes.
    Raises OSError if the page cannot be written.
    """
    if plots is None:
        plots = [path for section in sections for path in sorted((root / section.folder).glob("*.png"))]
    css, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    every = cells.details([*sections, *further])
    notes = _repeated([one.table.notes for one in chapters if one.table], least=2)
    words = [[*captions.reading(section), *captions.protocol(section)] for section in sections]
    common = _repeated(words, least=max(2, len(sections)))
    text = (
        html.environment(_TEMPLATES)
        .get_template("page.html")
        .render(
            title=title,
            intro=intro,
            policy=policy(css, script),
            style=Markup(css),  # the project's own file, like the script: neither contains anything from a record
            script=Markup(script),
            notes=notes,
            common=common,
            chapters=chapters,
            sections=sections,
            plots=list(plots),
            cells=every,
            cells_table=cells.table(every),
            finished=sum(cell.state == "finished" for cell in every),
            root=root,
            # what the template calls for a section, a plot, a text and a table
            verdict=summary.verdict,
            tables=scores.tables,
            reading=captions.reading,
            protocol=captions.protocol,
            figures=figures,
            embedded=embed.picture,
            words=style.words,
            paragraphs=sentences.paragraphs,
            table=html.render,
        )
    )
    write_text(root / NAME, text)
    return [root / NAME]


def figures(section: Section, plots: Iterable[Path]) -> list[CaptionedPicture]:
    """The section's pictures among `plots`, those of images first. Files with unknown names are shown as well."""
    every = {curve["name"]: curve["title"] for record in section.records for curve in record.data["curves"]}
    curves = {Path(file_name(name)).stem: (title, _CURVE) for name, title in every.items()}
    order = {name: place for place, name in enumerate([*style.WORDS, *curves, ""])}  # unknown names where "" is
    own = [path for path in plots if path.parent.as_posix().endswith(section.folder)]
    found = []
    for path in sorted(own, key=lambda path: (order.get(path.stem, order[""]), path.name)):
        title, text = curves.get(path.stem) or style.words(path)
        found.append(CaptionedPicture(path, title, text, f"Plot for {section.title}: {title}. {text}".strip()))
    return found


def _repeated(lists: Sequence[Sequence[str]], least: int) -> list[str]:
    """The sentences in at least `least` of the lists, each once: the page says them in one place."""
    every = dict.fromkeys(line for lines in lists for line in lines)
    return [line for line in every if sum(line in lines for lines in lists) >= least]


def policy(css: str, script: str = "") -> str:
    """A Content-Security-Policy that allows the page's own style and script, pictures inside it, and nothing else."""
    own = f" script-src {_source(script)};" if script else ""
    return f"default-src 'none'; img-src data:; style-src {_source(css)};{own} base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
