"""Plots made of images: samples and their nearest training images, reconstructions, interpolations, chains."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bench.report.content.numerals import plus_minus
from bench.report.content.outcomes import outcome
from bench.report.content.sections import Row, Section
from bench.report.plots import style, tiles
from bench.results.record import Record

_MARGIN = 24  # all lengths here are screen pixels, so that an image pixel covers a whole number of them
_PANEL_WIDTH = 640
_WIDE = 1100
_MOST_ROWS = 8
_NARROWEST = 900
_BANDS = 2  # rows of pairs for each model
_PAIR = ("generated", "nearest in training")


@dataclass(frozen=True)
class Panel:
    """A titled mosaic, with labels above its columns or before its rows."""

    title: str
    rows: list[list[tiles.Picture]]
    columns: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    note: str = ""  # stands where there are no images


def samples(section: Section, path: Path) -> Path:
    """One panel per model: the samples of its first finished training seed."""

    def panel(row: Row, record: Record) -> Panel:
        return Panel(_title(row, record), _fit(tiles.read(record, "samples")))

    return _draw(path, f"{section.title}: samples", [_panel(row, "samples", panel) for row in section.rows])


def interpolations(section: Section, path: Path) -> Path:
    """Per model a few paths; each row runs from one sample to another. The title has the path's length ratio."""
    panels = [_panel(row, "interpolations", _paths("interpolations", "length ratio")) for row in section.rows]
    return _draw(path, f"{section.title}: interpolations, each row from one sample to another", panels)


def interpolations_reconstructed(section: Section, path: Path) -> list[Path]:
    """The same between two real images, as the model reconstructs them; nothing where no record has any."""
    name = "interpolations-reconstructed"
    having = _having(section, name)
    if not having:
        return []
    panels = [_panel(row, name, _paths(name, "length ratio, real ends")) for row in having]
    return [_draw(path, f"{section.title}: interpolations, each row from one real image to another", panels)]


def _paths(name: str, measure: str) -> Callable[[Row, Record], Panel]:
    def panel(row: Row, record: Record) -> Panel:
        rows = _fit(tiles.read(record, name), most_rows=4, ends=True)
        labels = [str(label) for label in record.data["images"][name].get("labels") or []]
        whole = rows and len(rows[0]) == len(labels)
        title = _title(row, record) + _value(row, measure, measure.partition(", ")[0])
        return Panel(title, rows, columns=labels if whole else [])

    return panel


def nearest(section: Section, path: Path) -> list[Path]:
    """Generated images above their nearest training images; nothing where no record has any.

    The sheet holds pairs side by side, its `labels` saying what is in which column; here one is above the other.
    """

    def panel(row: Row, record: Record) -> Panel:
        flat = [picture for line in tiles.read(record, "nearest") for picture in line]
        stated = [str(label) for label in record.data["images"]["nearest"].get("labels") or _PAIR]
        kinds = list(dict.fromkeys(stated))
        across = len(_fit([flat[:: len(kinds)]], width=_WIDE)[0])
        bands = range(0, min(len(flat), _BANDS * across * len(kinds)), across * len(kinds))
        rows = [
            flat[start + k : start + across * len(kinds) : len(kinds)] for start in bands for k in range(len(kinds))
        ]
        return Panel(_title(row, record) + _value(row, "copying"), rows, labels=kinds * len(bands))

    having = _having(section, "nearest")
    if not having:
        return []
    title = f"{section.title}: samples, each above the training image nearest to it in feature space"
    return [_draw(path, title, [_panel(row, "nearest", panel) for row in having], across=1)]


def chain(section: Section, path: Path) -> list[Path]:
    """Each row one sample on its way from noise to image; nothing where no model of the section has a chain."""
    return _chains(section, path, "chain", "from noise to image; numbers are network evaluations")


def long_chain(section: Section, path: Path) -> list[Path]:
    """The same rows as in `chain`, run far past the model's own steps; nothing where no record has them."""
    return _chains(section, path, "long-chain", "chains run on past their own steps (the second column)")


def _chains(section: Section, path: Path, name: str, title: str) -> list[Path]:
    def panel(row: Row, record: Record) -> Panel:
        rows = _fit(tiles.read(record, name), most_rows=6, width=_WIDE)
        labels = record.data["images"][name].get("labels") or []
        return Panel(_title(row, record), rows, columns=[str(label) for label in labels])

    having = _having(section, name)
    if not having:
        return []
    # rows that are short leave room for several models side by side
    across = 1 if name == "chain" else 3
    panels = [_panel(row, name, panel) for row in having]
    return [_draw(path, f"{section.title}: {title}", panels, across=across)]


def reconstructions(section: Section, path: Path) -> Path:
    """A row of originals, then each model's reconstructions of them, the same image in the same column."""
    bands: dict[bytes, tuple[list[tiles.Picture], list[str], list[list[tiles.Picture]]]] = {}
    missing = []
    for row in section.rows:
        record = _first(row, "reconstructions")
        pairs = [_strip(record, name) for name in ("originals", "reconstructions")] if record else [[], []]
        if record is None or not all(pairs):
            missing.append(f"{row.label}: {_why(row)}")
            continue
        originals, own = pairs
        # Models that reconstruct other images than the first model's get a band of their own.
        _, labels, strips = bands.setdefault(b"".join(image.tobytes() for image in originals), (originals, [], []))
        labels.append(f"{row.label}, seed {record.seed}{_value(row, 'MSE', 'MSE')}")
        strips.append(own)
    panels = [Panel("", [band, *strips], labels=["originals", *labels]) for band, labels, strips in bands.values()]
    panels += [Panel("", [], note=text) for text in missing]
    over = " (MSE over all seeds)" if len(section.seeds) > 1 else ""
    return _draw(path, f"{section.title}: reconstructions of held-out images{over}", panels, across=1)


def _panel(row: Row, name: str, make: Callable[[Row, Record], Panel]) -> Panel:
    record = _first(row, name)
    panel = make(row, record) if record else None
    return panel if panel and panel.rows else Panel(row.label, [], note=_why(row))


def _first(row: Row, name: str) -> Record | None:
    """The first training seed whose sheet can be shown, finished runs before diverged ones."""
    return next((record for record in [*row.finished, *row.failed] if tiles.read(record, name)), None)


def _having(section: Section, name: str) -> list[Row]:
    return [row for row in section.rows if any(name in record.data["images"] for record in row.records)]


def _why(row: Row) -> str:
    return "no picture" if row.finished else f"no picture ({row.status})"


def _title(row: Row, record: Record) -> str:
    return f"{row.label}, seed {record.seed}" + ("" if record.finished else f", {outcome(record)}")


def _value(row: Row, name: str, label: str = "") -> str:
    """A second line for a title: the score over all seeds, which does not break in two."""
    summary = row.score(name)
    if summary is None:
        return ""
    metric: dict[str, Any] = next(found for record in row.finished if (found := record.metric(name)))
    return f"\n{label or metric['label']} " + plus_minus(summary).replace(" ", "\u00a0")


def _fit(
    rows: list[list[tiles.Picture]], most_rows: int = _MOST_ROWS, width: int = _PANEL_WIDTH, ends: bool = False
) -> list[list[tiles.Picture]]:
    return tiles.crop(rows, most_rows=most_rows, most_pixels=width, ends=ends)


def _strip(record: Record, name: str) -> list[tiles.Picture]:
    """A sheet's images in one row, as many as a page is wide."""
    flat = [picture for row in tiles.read(record, name) for picture in row]
    return _fit([flat], width=_WIDE)[0] if flat else []


def _draw(path: Path, title: str, panels: list[Panel], across: int = 3) -> Path:
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
    page = _Page(figure, wide, high)
    page.text(wide // 2, _MARGIN // 2, "\n".join(heading), style.TITLE, ha="center", va="top")
    for line in lines:
        left = (wide - sum(box.width for box in line) - _MARGIN * (len(line) - 1)) // 2
        for box in line:
            box.draw(page, left, top)
            left += box.width + _MARGIN
        top += max(box.height for box in line) + _MARGIN
    return style.save(figure, path)


@dataclass(frozen=True)
class _Page:
    figure: Figure
    wide: int
    high: int

    def text(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        self.figure.text(x / self.wide, 1 - y / self.high, style.literal(text), fontsize=size, **options)

    def picture(self, x: int, y: int, picture: tiles.Picture) -> None:
        high, wide = picture.shape[:2]
        place = (x / self.wide, 1 - (y + high) / self.high, wide / self.wide, high / self.high)
        axes = self.figure.add_axes(place)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        axes.set_axis_off()


class _Box:
    """A panel with its size worked out: title above, labels of columns, labels of rows, the mosaic."""

    def __init__(self, panel: Panel):
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

    def draw(self, page: _Page, left: int, top: int) -> None:
        centre = left + self.before + (self.width - self.before) / 2
        page.text(centre, top, "\n".join(self.title), style.LABEL, ha="center", va="top")
        if self.mosaic is None:
            return
        high, wide = self.mosaic.shape[:2]
        corner = left + self.before + (self.width - self.before - wide) // 2
        page.picture(corner, top + self.above, self.mosaic)
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
