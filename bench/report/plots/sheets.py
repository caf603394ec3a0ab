"""Plots of images: samples and their nearest training images, reconstructions, interpolations, chains."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.report.content.numerals import plus_minus
from bench.report.content.outcomes import outcome
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style, tiles
from bench.results.record import Record

_MARGIN = 24  # all lengths here are screen pixels, so that an image pixel covers a whole number of them
_PANEL_WIDTH = 640
_WIDE = 1100
_NARROWEST = 900
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
    """Lay the panels out in rows of `across`, every mosaic on whole screen pixels."""
    if not any(panel.rows for panel in panels):
        return style.message(path, title, "; ".join(f"{panel.title} {panel.note}".strip() for panel in panels))
    boxes = [_Box(panel) for panel in panels]
    lines = [boxes[i : i + across] for i in range(0, len(boxes), across)]
    wide = max(sum(box.width for box in line) + _MARGIN * (len(line) + 1) for line in lines)
    wide = max(wide, _NARROWEST)
    heading = textwrap.wrap(title, _characters(wide - 2 * _MARGIN, style.TITLE))
    top = _MARGIN + len(heading) * _line(style.TITLE)
    high = top + sum(max(box.height for box in line) + _MARGIN for line in lines)
    figure = Figure(figsize=(wide / style.DPI, high / style.DPI), dpi=style.DPI)
    page = _Canvas(figure, wide, high)
    page.text(wide // 2, _MARGIN // 2, "\n".join(heading), style.TITLE, ha="center", va="top")
    for line in lines:
        left = (wide - sum(box.width for box in line) - _MARGIN * (len(line) - 1)) // 2
        for box in line:
            box.draw(page, left, top)
            left += box.width + _MARGIN
        top += max(box.height for box in line) + _MARGIN
    return style.save(figure, path)


@dataclass(frozen=True)
class _Canvas:
    figure: Figure
    wide: int
    high: int

    def text(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        self.figure.text(x / self.wide, 1 - y / self.high, style.literal(text), fontsize=size, **options)

    def image(self, x: int, y: int, pixels: tiles.Pixels) -> None:
        high, wide = pixels.shape[:2]
        place = (x / self.wide, 1 - (y + high) / self.high, wide / self.wide, high / self.high)
        axes = self.figure.add_axes(place)
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        axes.set_axis_off()


class _Box:
    """A panel and its size: title above, labels of columns, labels of rows, the mosaic."""

    def __init__(self, panel: SheetPanel):
        self.panel = panel
        self.mosaic = tiles.mosaic(panel.rows) if panel.rows else None
        high, wide = self.mosaic.shape[:2] if self.mosaic is not None else (0, 0)
        self.before = _extent(panel.labels, style.LABEL) + 16 if panel.labels else 0
        self.width = max(wide + self.before, 360)
        self.title = _wrap(panel.title, _characters(self.width, style.LABEL))
        if self.mosaic is None:
            self.title += _wrap(panel.note, _characters(self.width, style.LABEL))
        self.above = len(self.title) * _line(style.LABEL) + (_line(style.SMALL) if panel.columns else 0) + 6
        self.height = high + self.above

    def draw(self, page: _Canvas, left: int, top: int) -> None:
        centre = left + self.before + (self.width - self.before) / 2
        page.text(centre, top, "\n".join(self.title), style.LABEL, ha="center", va="top")
        if self.mosaic is None:
            return
        high, wide = self.mosaic.shape[:2]
        corner = left + self.before + (self.width - self.before - wide) // 2
        page.image(corner, top + self.above, self.mosaic)
        across, down = (wide + tiles.GAP) / len(self.panel.rows[0]), (high + tiles.GAP) / len(self.panel.rows)
        for index, label in enumerate(self.panel.columns[: len(self.panel.rows[0])]):
            x = corner + (index + 0.5) * across - tiles.GAP / 2
            page.text(x, top + self.above - 5, label, style.SMALL, ha="center", va="bottom")
        for index, label in enumerate(self.panel.labels):
            y = top + self.above + (index + 0.5) * down - tiles.GAP / 2
            page.text(corner - 10, y, label, style.LABEL, ha="right", va="center", linespacing=1.1)


def _wrap(text: str, width: int) -> list[str]:
    return [part for line in text.splitlines() for part in textwrap.wrap(line, width)]


def _line(size: float) -> int:
    return round(size * style.DPI / 72 * 1.35)


def _characters(width: int, size: float) -> int:
    return max(10, int(width / (size * style.DPI / 72 * 0.6)))


def _extent(labels: Iterable[str], size: float) -> int:
    """Room for the longest line: DejaVu Sans takes about 0.6 of its size per character."""
    longest = max(len(line) for label in labels for line in label.splitlines())
    return round(longest * size * style.DPI / 72 * 0.6)
