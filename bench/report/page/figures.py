"""The plots as a page shows them: their order, their titles, and descriptions of what they show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.report.content.sections import Section
from bench.report.plots.curves import file_name
from bench.report.plots.style import WORDS, words

_CURVE = (
    "A line per model, the mean over training seeds with its 95 % interval; dotted, the setting in use; "
    "broken, the same model untrained."
)


@dataclass(frozen=True)
class CaptionedPicture:
    """A file with a title and a caption of one paragraph; `alt` replaces it where it cannot be seen."""

    path: Path
    title: str
    caption: str
    alt: str


def figures(section: Section, plots: Iterable[Path]) -> list[CaptionedPicture]:
    """The section's pictures among `plots`, those of images first. Files with unknown names are shown as well."""
    every = [curve for record in section.records for curve in record.data["curves"]]
    curves = {Path(file_name(curve["name"])).stem: (curve["title"], _CURVE) for curve in every}
    *first, last = WORDS
    order = {name: place for place, name in enumerate([*first, *curves, "", last])}  # unknown names where "" is
    own = [path for path in plots if path.parent.as_posix().endswith(section.folder)]
    found = []
    for path in sorted(own, key=lambda path: (order.get(path.stem, order[""]), path.name)):
        title, text = curves.get(path.stem) or words(path)
        found.append(CaptionedPicture(path, title, text, f"Plot for {section.title}: {title}. {text}".strip()))
    return found
