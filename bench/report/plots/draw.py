"""Every plot of a results folder: `plots/<dataset>/*.png`."""

from __future__ import annotations

from pathlib import Path

from bench.report.content.sections import Section
from bench.report.plots import bars, curves, learning, sheets, style


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Draw every section and return the paths written; what no record or folder has is left out."""
    looks = style.Looks(row.label for section in sections for row in section.rows)
    written = []
    with style.style():
        for section in sections:
            folder = root / section.folder
            for name in sheets.SHEETS:
                written += sheets.sheet(section, folder / f"{name}.png")
            written += sheets.reconstructions(section, folder / "reconstructions.png")
            written += sheets.nearest(section, folder / "nearest.png")
            written += learning.learning_curves(section, folder / "learning_curves.png", looks)
            written += bars.scores(section, folder, looks) + curves.curves(section, folder, looks)
    return written
