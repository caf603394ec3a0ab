"""Every plot of a results folder: `plots/<dataset>/*.png`."""

from __future__ import annotations

from pathlib import Path

from bench.report import curves, pictures, style
from bench.report.sections import Section


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Draw every section; the paths written. What a record or a folder lacks is said in the plot, and stops nothing."""
    looks = style.Looks(row.label for section in sections for row in section.rows)
    written = []
    with style.style():
        for section in sections:
            folder = root / section.folder
            written += [
                pictures.samples(section, folder / "samples.png"),
                pictures.reconstructions(section, folder / "reconstructions.png"),
                pictures.interpolations(section, folder / "interpolations.png"),
                *pictures.chain(section, folder / "chain.png"),
                curves.learning_curves(section, folder / "learning_curves.png", looks),
                curves.scores(section, folder / "scores.png", looks),
                curves.score_against_seconds(section, folder / "score_against_seconds.png", looks),
            ]
    return written
