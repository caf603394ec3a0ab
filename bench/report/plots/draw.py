"""Every plot of a results folder: `plots/<dataset>/*.png`."""

from __future__ import annotations

from pathlib import Path

from bench.report.content.sections import Section
from bench.report.plots import bars, curves, learning, sheets, style


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Draw every section and return the paths written. A plot says what a record or folder lacks."""
    looks = style.Looks(row.label for section in sections for row in section.rows)
    written = []
    with style.style():
        for section in sections:
            folder = root / section.folder

            def place(name: str, folder: Path = folder) -> Path:
                return folder / f"{name.replace('-', '_')}.png"

            written += [
                *(path for name in sheets.SHEETS for path in sheets.sheet(section, place(name), name)),
                *sheets.reconstructions(section, place("reconstructions")),
                *sheets.nearest(section, place("nearest")),
                learning.learning_curves(section, place("learning_curves"), looks),
                *bars.scores(section, folder, looks),
                *curves.curves(section, folder, looks),
                learning.score_against_seconds(section, place("score_against_seconds"), looks),
            ]
    return written
