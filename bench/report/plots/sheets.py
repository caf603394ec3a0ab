"""Plots of images: samples and their nearest training images, reconstructions, interpolations, chains."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.report.content.numerals import plus_minus
from bench.report.content.outcomes import outcome
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style, tiles
from bench.results.record import Record

_MARGIN = 24  # lengths are screen pixels, so that an image pixel covers a whole number of them
_PANEL_WIDTH = 640
_WIDE = 1100
_NARROWEST = 360  # of a panel
_LINE = round(style.LABEL * style.DPI / 72 * 1.35)
_LETTER = style.LABEL * style.DPI / 72 * 0.6  # DejaVu Sans takes about 0.6 of its size per character
_BANDS = 2  # rows of pairs for each model
_PAIR = ("generated", "nearest in training")


@dataclass(frozen=True)
class Sheet:
    """How the sheets of one name are laid out: a panel per model, that of its first finished training seed."""

    title: str
    most_rows: int = 8
    width: int = _PANEL_WIDTH
    across: int = 3  # panels side by side
    ends: bool = False  # whether both ends of a row are kept, as a path needs
    score: str = ""  # the metric in a panel's title
    always: bool = False  # whether a section without the sheet gets a plot that says so


SHEETS = {  # by the name in the records
    "samples": Sheet("samples", always=True),
    "interpolations": Sheet(
        "interpolations, each row from one sample to another", 4, ends=True, score="length ratio", always=True
    ),
    "interpolations-reconstructed": Sheet(
        "interpolations, each row from one real image to another", 4, ends=True, score="length ratio, real ends"
    ),
    "chain": Sheet("from noise to image; numbers are {steps}", 6, _WIDE, across=1),
    # short rows leave room for several models side by side
    "long-chain": Sheet("chains run on past their own steps (the second column)", 6, _WIDE),
}


@dataclass(frozen=True)
class SheetPanel:
    """A mosaic with a title, and labels above its columns or before its rows."""

    title: str
    rows: list[list[tiles.Pixels]]
    columns: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    note: str = ""  # shown if there are no images


def sheet(section: Section, path: Path, name: str) -> list[Path]:
    """Draw one of `SHEETS`; nothing if no record has it, unless it is always drawn."""
    look = SHEETS[name]

    def panel(row: Row, record: Record) -> SheetPanel:
        rows = tiles.crop(tiles.read(record, name), most_rows=look.most_rows, most_pixels=look.width, ends=look.ends)
        labels = _labels(record, name)
        if look.ends and not (rows and len(rows[0]) == len(labels)):
            labels = []
        title = _title(row, record) + (_value(row, look.score, look.score.partition(", ")[0]) if look.score else "")
        return SheetPanel(title, rows, columns=labels)

    rows = list(section.rows) if look.always else _having(section, name)
    if not rows:
        return []
    panels = [_panel(row, name, panel) for row in rows]
    names = dict.fromkeys(f"{record.data['sampler_step']}s" for row in rows for record in row.records)
    title = look.title.format(steps=" or ".join(names))
    return [_draw(path, f"{section.title}: {title}", panels, across=look.across)]


def nearest(section: Section, path: Path) -> list[Path]:
    """Generated images above their nearest training images; nothing if no record has any.

    The sheet holds pairs side by side, and its `labels` say what is in which column; here one is above the other.
    """

    def panel(row: Row, record: Record) -> SheetPanel:
        flat = [pixels for line in tiles.read(record, "nearest") for pixels in line]
        kinds = list(dict.fromkeys(_labels(record, "nearest") or _PAIR))
        across = len(_one_row(flat[:: len(kinds)]))
        bands = range(0, min(len(flat), _BANDS * across * len(kinds)), across * len(kinds))
        rows = [
            flat[start + k : start + across * len(kinds) : len(kinds)] for start in bands for k in range(len(kinds))
        ]
        return SheetPanel(_title(row, record) + _value(row, "memorization"), rows, labels=kinds * len(bands))

    having = _having(section, "nearest")
    if not having:
        return []
    title = f"{section.title}: samples, each above the training image nearest to it in feature space"
    return [_draw(path, title, [_panel(row, "nearest", panel) for row in having], across=1)]


def reconstructions(section: Section, path: Path) -> list[Path]:
    """A row of originals, then each model's reconstructions of them, with the same image in the same column."""
    bands: dict[bytes, SheetPanel] = {}
    missing = []
    for row in section.rows:
        record = _first(row, "reconstructions")
        originals, own = (
            _one_row([pixels for line in tiles.read(record, name) for pixels in line]) if record else []
            for name in ("originals", "reconstructions")
        )
        if record is None or not (originals and own):
            missing.append(SheetPanel("", [], note=f"{row.label}: {_why(row)}"))
            continue
        # Models that reconstruct other images than the first model's get a band of their own.
        key = b"".join(image.tobytes() for image in originals)
        band = bands.setdefault(key, SheetPanel("", [originals], labels=["originals"]))
        band.labels.append(f"{row.label}, seed {record.seed}{_value(row, 'MSE', 'MSE')}")
        band.rows.append(own)
    over = " (MSE over all seeds)" if len(section.seeds) > 1 else ""
    title = f"{section.title}: reconstructions of held-out images{over}"
    return [_draw(path, title, [*bands.values(), *missing], across=1)]


def _panel(row: Row, name: str, make: Callable[[Row, Record], SheetPanel]) -> SheetPanel:
    record = _first(row, name)
    panel = make(row, record) if record else None
    return panel if panel and panel.rows else SheetPanel(row.label, [], note=_why(row))


def _first(row: Row, name: str) -> Record | None:
    """The first record whose sheet can be shown, finished runs before failed ones."""
    return next((record for record in [*row.finished, *row.failed] if tiles.read(record, name)), None)


def _having(section: Section, name: str) -> list[Row]:
    return [row for row in section.rows if any(name in record.data["images"] for record in row.records)]


def _labels(record: Record, name: str) -> list[str]:
    return [str(label) for label in record.data["images"][name].get("labels") or []]


def _why(row: Row) -> str:
    return "no picture" if row.finished else f"no picture ({row.status})"


def _title(row: Row, record: Record) -> str:
    return f"{row.label}, seed {record.seed}" + ("" if record.finished else f", {outcome(record)}")


def _value(row: Row, name: str, label: str = "") -> str:
    """A second line for a title: the score over all seeds, which is not broken into two lines."""
    summary = row.score(name)
    if summary is None:
        return ""
    return f"\n{label or row.entries(name)[0]['label']} " + plus_minus(summary).replace(" ", "\u00a0")


def _one_row(flat: list[tiles.Pixels]) -> list[tiles.Pixels]:
    """As many images side by side as fit the width of a page."""
    return tiles.crop([flat], most_rows=1, most_pixels=_WIDE)[0] if flat else []


def _draw(path: Path, title: str, panels: list[SheetPanel], across: int = 3) -> Path:
    """Lay the panels out in rows of `across`. Mosaics are put into the figure pixel by pixel, without resampling."""
    if not any(panel.rows for panel in panels):
        return style.message(path, title, "; ".join(f"{panel.title} {panel.note}".strip() for panel in panels))
    mosaics = [tiles.mosaic(panel.rows) if panel.rows else np.full((1, 1), 255, dtype=np.uint8) for panel in panels]
    before = max(_extent(panel.labels) for panel in panels) + _MARGIN  # all these lengths are screen pixels
    wide = max(_NARROWEST, *(mosaic.shape[1] for mosaic in mosaics))
    heads = [_wrap(f"{panel.title}\n{'' if panel.rows else panel.note}", wide) for panel in panels]
    above = max(map(len, heads)) * _LINE + _LINE
    high = above + max(mosaic.shape[0] for mosaic in mosaics) + _MARGIN
    size = (before + wide + _MARGIN) / style.DPI, high / style.DPI
    margins = {"left": before / style.DPI, "right": _MARGIN / style.DPI, "above": above / style.DPI}
    figure, every = style.panels(title, len(panels), across, size, **margins, below=_MARGIN / style.DPI)
    page = figure.get_size_inches() * style.DPI
    for axes, panel, mosaic, head in zip(every, panels, mosaics, heads, strict=True):
        axes.set_axis_off()
        axes.set(xlim=(0, wide), ylim=(high - above - _MARGIN, 0))  # pixels, from the mosaic's upper left corner down
        axes.text(mosaic.shape[1] / 2, -_LINE, "\n".join(head), fontsize=style.LABEL, ha="center", va="bottom")
        if not panel.rows:
            continue
        left, top = (axes.get_position().corners()[1] * page).round().astype(int)
        figure.figimage(mosaic, left, top - mosaic.shape[0], cmap="gray", vmin=0, vmax=255, origin="upper")
        steps = [
            (side + tiles.GAP) / n for side, n in zip(mosaic.shape, (len(panel.rows), len(panel.rows[0])), strict=False)
        ]
        for index, label in enumerate(panel.columns[: len(panel.rows[0])]):
            axes.text(
                (index + 0.5) * steps[1], -5, style.literal(label), fontsize=style.SMALL, ha="center", va="bottom"
            )
        for index, label in enumerate(panel.labels):
            place = (-10, (index + 0.5) * steps[0])
            axes.text(*place, style.literal(label), fontsize=style.LABEL, ha="right", va="center", linespacing=1.1)
    return style.save(figure, path)


def _wrap(text: str, width: int) -> list[str]:
    """The lines of a text that fit into a width in pixels."""
    most = int(width / _LETTER)
    return [style.literal(part) for line in text.splitlines() for part in textwrap.wrap(line, most)]


def _extent(labels: Iterable[str]) -> int:
    """Room for the longest line, in pixels."""
    return round(max((len(line) for label in labels for line in label.splitlines()), default=0) * _LETTER)
