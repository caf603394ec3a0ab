"""Plots of images: samples and their nearest training images, reconstructions, interpolations, chains."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.report.content.numerals import plus_minus
from bench.report.content.outcomes import outcome
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style, tiles
from bench.results.record import Record

_MARGIN = 24  # lengths are screen pixels, so that an image pixel covers a whole number of them
_WIDE = 1100
_NARROWEST = 360  # of a panel
_LINE = round(style.LABEL * style.DPI / 72 * 1.35)
_LETTER = style.LABEL * style.DPI / 72 * 0.6  # DejaVu Sans takes about 0.6 of its size per character
_BANDS = 2  # rows of pairs for each model
_PAIR = ("generated", "nearest in training")


@dataclass(frozen=True)
class Sheet:
    """How the sheets of one name are laid out: a panel per model, that of its first finished training seed."""

    rows: int = 8  # at most
    width: int = 640
    across: int = 3  # panels side by side
    ends: bool = False  # whether both ends of a row are kept, as a path needs
    score: str = ""  # the metric in a panel's title


SHEETS = {name: Sheet(**one["sheet"]) for name, one in style.WORDS.items() if "sheet" in one}


@dataclass(frozen=True)
class SheetPanel:
    """A mosaic with a title, and labels above its columns or before its rows."""

    title: str
    rows: list[list[tiles.Pixels]]
    columns: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def sheet(section: Section, path: Path) -> list[Path]:
    """Draw the one of `SHEETS` that the file is named after; nothing if no model has a picture of it."""
    look, name, panels = SHEETS[path.stem], path.stem.replace("_", "-"), []
    for row, record in _first(section, name):
        rows = tiles.crop(tiles.read(record, name), most_rows=look.rows, most_pixels=look.width, ends=look.ends)
        labels = _labels(record, name)
        if look.ends and len(rows[0]) != len(labels):
            labels = []
        panels.append(SheetPanel(_title(row, record, look.score, look.score.partition(", ")[0]), rows, columns=labels))
    return _draw(section, path, panels, across=look.across)


def nearest(section: Section, path: Path) -> list[Path]:
    """Generated images above their nearest training images; nothing if no record has any.

    The sheet holds pairs side by side, and its `labels` say what is in which column; here one is above the other.
    """
    panels = []
    for row, record in _first(section, "nearest"):
        flat = _flat(record, "nearest")
        kinds = list(dict.fromkeys(_labels(record, "nearest") or _PAIR))
        across = len(_one_row(flat[:: len(kinds)]))
        bands = range(0, min(len(flat), _BANDS * across * len(kinds)), across * len(kinds))
        rows = [flat[at + k : at + across * len(kinds) : len(kinds)] for at in bands for k in range(len(kinds))]
        panels.append(SheetPanel(_title(row, record, "memorization"), rows, labels=kinds * len(bands)))
    return _draw(section, path, panels, across=1)


def reconstructions(section: Section, path: Path) -> list[Path]:
    """A row of originals, then each model's reconstructions of them, with the same image in the same column.

    Models that reconstruct other images than the first model's get a band of their own.
    """
    bands: dict[bytes, SheetPanel] = {}
    for row, record in _first(section, "reconstructions"):
        originals, own = (_one_row(_flat(record, name)) for name in ("originals", "reconstructions"))
        key = b"".join(image.tobytes() for image in originals)
        band = bands.setdefault(key, SheetPanel("", [originals], labels=["originals"]))
        band.labels.append(_title(row, record, "MSE", "MSE"))
        band.rows.append(own)
    return _draw(section, path, [band for band in bands.values() if band.rows[0]], across=1)


def _first(section: Section, name: str) -> list[tuple[Row, Record]]:
    """Of each model the first record whose sheet can be shown, finished runs before failed ones."""
    every = ((row, [*row.finished, *row.failed]) for row in section.rows)
    found = ((row, next((one for one in records if tiles.read(one, name)), None)) for row, records in every)
    return [(row, record) for row, record in found if record]


def _flat(record: Record, name: str) -> list[tiles.Pixels]:
    return [pixels for line in tiles.read(record, name) for pixels in line]


def _labels(record: Record, name: str) -> list[str]:
    return [str(label) for label in record.data["images"][name].get("labels") or []]


def _title(row: Row, record: Record, score: str = "", label: str = "") -> str:
    """Whose images they are and, in a line of its own, the score over all seeds, which is not broken into two lines."""
    title = f"{row.label}, seed {record.seed}" + ("" if record.finished else f", {outcome(record)}")
    if (summary := row.score(score)) is None:
        return title
    return f"{title}\n{label or row.entries(score)[0]['label']} " + plus_minus(summary).replace(" ", "\u00a0")


def _one_row(flat: list[tiles.Pixels]) -> list[tiles.Pixels]:
    """As many images side by side as fit the width of a page."""
    return tiles.crop([flat], most_rows=1, most_pixels=_WIDE)[0] if flat else []


def _draw(section: Section, path: Path, panels: list[SheetPanel], across: int) -> list[Path]:
    """Lay the panels out in rows of `across`. Mosaics are put into the figure pixel by pixel, without resampling."""
    if not panels:
        return []
    mosaics = [tiles.mosaic(panel.rows) for panel in panels]
    before = max(_extent(panel.labels) for panel in panels) + _MARGIN  # all these lengths are screen pixels
    wide = max(_NARROWEST, *(mosaic.shape[1] for mosaic in mosaics))
    heads = [_wrap(panel.title, wide) for panel in panels]
    above = max(map(len, heads)) * _LINE + _LINE
    high = above + max(mosaic.shape[0] for mosaic in mosaics) + _MARGIN
    size = (before + wide + _MARGIN) / style.DPI, high / style.DPI
    margins = {"left": before / style.DPI, "right": _MARGIN / style.DPI, "above": above / style.DPI}
    title = style.heading(section, path)
    figure, every = style.panels(title, len(panels), across, size, **margins, below=_MARGIN / style.DPI)
    page = figure.get_size_inches() * style.DPI
    for axes, panel, mosaic, head in zip(every, panels, mosaics, heads, strict=True):
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(high - above - _MARGIN, 0))  # pixels, from the mosaic's upper left corner down
        axes.text(mosaic.shape[1] / 2, -_LINE, "\n".join(head), fontsize=style.LABEL, ha="center", va="bottom")
        left, top = (axes.get_position().corners()[1] * page).round().astype(int)
        figure.figimage(mosaic, left, top - mosaic.shape[0], cmap="gray", vmin=0, vmax=255, origin="upper")
        down, along = ((mosaic.shape[k] + tiles.GAP) / n for k, n in enumerate((len(panel.rows), len(panel.rows[0]))))
        for index, label in enumerate(panel.columns[: len(panel.rows[0])]):
            look = {"fontsize": style.SMALL, "ha": "center", "va": "bottom"}
            axes.text((index + 0.5) * along, -5, style.literal(label), **look)
        for index, label in enumerate(panel.labels):
            look = {"fontsize": style.LABEL, "ha": "right", "va": "center", "linespacing": 1.1}
            axes.text(-10, (index + 0.5) * down, style.literal(label), **look)
    return [style.save(figure, path)]


def _wrap(text: str, width: int) -> list[str]:
    """The lines of a text that fit into a width in pixels."""
    most = int(width / _LETTER)
    return [style.literal(part) for line in text.splitlines() for part in textwrap.wrap(line, most)]


def _extent(labels: Iterable[str]) -> int:
    """Room for the longest line, in pixels."""
    return round(max((len(line) for label in labels for line in label.splitlines()), default=0) * _LETTER)
