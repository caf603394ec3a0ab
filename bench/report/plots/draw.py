"""Every plot of a results folder: `plots/<dataset>/*.png`."""

from __future__ import annotations

from pathlib import Path

from bench.report.content.sections import Section
from bench.report.plots import bars, style
from bench.report.plots import curves as sweeps
from bench.report.plots import learning as curves
from bench.report.plots import sheets as pictures


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
                *pictures.interpolations_reconstructed(section, folder / "interpolations_reconstructed.png"),
                *pictures.nearest(section, folder / "nearest.png"),
                *pictures.chain(section, folder / "chain.png"),
                *pictures.long_chain(section, folder / "long_chain.png"),
                curves.learning_curves(section, folder / "learning_curves.png", looks),
                *bars.scores(section, folder, looks),
                *sweeps.curves(section, folder, looks),
                curves.score_against_seconds(section, folder / "score_against_seconds.png", looks),
            ]
    return written
