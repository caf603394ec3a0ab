"""The curves in the records: a score against decodes or sampler steps, a quantity along the chain; a line per model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.report.content.rows import Row, Summary, summarize
from bench.report.content.sections import Section
from bench.report.plots import style

_STEEP = 30.0  # a range of positive means wider than this gets a logarithmic axis
_MANY = 25  # a line with this many points needs no markers
_MEANS = "mean and its 95 % t interval over training seeds"


@dataclass(frozen=True)
class MeanLine:
    """A mean over seeds at each x, with half the width of its 95 % t interval (None where a mean has none)."""

    label: str  # of the model, which decides the colour
    x: list[float]
    mean: np.ndarray
    half: np.ndarray | None
    mark: float | None = None
    untrained: bool = False  # of the model with its first weights

    @classmethod
    def of(cls, label: str, points: Iterable[tuple[float, Summary]], **more: Any) -> MeanLine:
        """The line through the points, by x."""
        x, summaries = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        halves = [summary.half for summary in summaries]
        half = None if None in halves else np.array(halves)
        return cls(label, list(x), np.array([summary.mean for summary in summaries]), half, **more)


def curves(section: Section, folder: Path, looks: style.Looks) -> list[Path]:
    """A figure `curve_<name>.png` for each curve in a record, and one for each figure that curves share."""
    drawn, every = [], _every(section)
    for name, curve in every.items():
        if not curve["figures"]:
            lines = [line for row in section.rows for line in [*_lines(row, name), *_lines(row, name, untrained=True)]]
            title = f"{section.title}: {curve['title']}"
            drawn += _draw_panels(section, [("", curve, lines)], folder / file_name(name), looks, title, 6.6, 3.9)
    for figure in dict.fromkeys(figure for curve in every.values() for figure in curve["figures"]):
        path = folder / file_name(figure)
        drawn += together(section, figure, path, looks, f"{section.title}: {style.words(path)[0]}")
    return drawn


def together(section: Section, figure: str, path: Path, looks: style.Looks, title: str) -> list[Path]:
    """The curves that belong to `figure` side by side, a line per model; nothing if no record has any of them.

    On a linear axis, curves end at the setting in use.
    """
    wanted = [curve for curve in _every(section).values() if figure in curve["figures"]]
    found = []
    for curve in sorted(wanted, key=lambda one: one["log_x"]):
        lines = [line for row in section.rows for line in _lines(row, curve["name"])]
        lines = [kept for line in lines if (kept := line if curve["log_x"] else _before_mark(line))]
        if lines:
            found.append((curve["figures"][figure], curve, lines))
    return _draw_panels(section, found, path, looks, title, 4.0, 3.0)


def _every(section: Section) -> dict[str, dict[str, Any]]:
    """The first example of every curve in the records, by name."""
    found: dict[str, dict[str, Any]] = {}
    for curve in (curve for record in section.records for curve in record.data["curves"]):
        found.setdefault(curve["name"], curve)
    return found


def file_name(name: str) -> str:
    """`MSE by decodes` -> `curve_mse_by_decodes.png`."""
    return f"curve_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.png"


def _draw_panels(
    section: Section,
    found: Sequence[tuple[str, dict[str, Any], list[MeanLine]]],  # a panel's title, its curve, a line per model
    path: Path,
    looks: style.Looks,
    title: str,
    wide: float,  # of a panel, in inches
    high: float,
) -> list[Path]:
    if not found:
        return []
    every = [line for _, _, lines in found for line in lines]
    shown = {line.label for line in every}
    handles = style.legend([row for row in section.rows if row.label in shown], looks, linestyle="-")
    if any(line.mark is not None for line in every):
        handles.append(Line2D([], [], color=style.FAINT, linestyle=":", label="setting in use"))
    if any(line.untrained for line in every):
        handles.append(Line2D([], [], color=style.FAINT, linestyle="--", label="the same model, untrained"))
    figure, panels = style.panels(title, len(found), len(found), (wide, high), handles)
    for axes, (panel, curve, lines) in zip(panels, found, strict=True):
        if panel or any(line.half is not None for line in lines):
            axes.set_title(style.literal(panel) or _MEANS)
        fill(axes, lines, curve, looks)
    return [style.save(figure, path)]


def fill(axes: Axes, lines: list[MeanLine], curve: dict[str, Any], looks: style.Looks) -> None:
    """The lines, their marks, and the scales and labels that `curve` has (`x_label`, `y_label`, `log_x`)."""
    for line in lines:
        _draw(axes, line, looks)
    marks = {line.mark for line in lines if line.mark is not None}
    for mark in sorted(marks):
        owners = {line.label for line in lines if line.mark == mark}
        own = len(marks) > 1 and len(owners) == 1
        axes.axvline(mark, color=looks.colour(*owners) if own else style.FAINT, linestyle=":", linewidth=1.3, zorder=1)
    _scale(axes, lines, log_x=curve["log_x"])
    axes.set_xlabel(style.literal(curve["x_label"]))
    axes.set_ylabel(style.literal(curve["y_label"]))


def _before_mark(line: MeanLine) -> MeanLine | None:
    """The line up to the setting in use, without the mark itself; None if nothing is left."""
    n = sum(x < line.mark for x in line.x) if line.mark is not None else len(line.x)
    half = None if line.half is None else line.half[:n]
    return replace(line, x=line.x[:n], mean=line.mean[:n], half=half, mark=None) if n else None


def _lines(row: Row, name: str, *, untrained: bool = False) -> list[MeanLine]:
    """One line of the mean where all seeds have the same x, else a line per seed; none without the curve."""
    found = [record.untrained_curve(name) if untrained else record.curve(name) for record in row.finished]
    own = [curve for curve in found if curve]
    same = own and all(curve["x"] == own[0]["x"] for curve in own)
    lines = []
    for members in [own] if same else [[curve] for curve in own]:
        means = map(summarize, zip(*(curve["y"] for curve in members), strict=True))
        points = zip(members[0]["x"], means, strict=True)
        lines.append(MeanLine.of(row.label, points, mark=members[0]["mark"], untrained=untrained))
    return lines


def _draw(axes: Axes, line: MeanLine, looks: style.Looks) -> None:
    colour = looks.colour(line.label)
    marker = looks.marker(line.label) if len(line.x) < _MANY else None
    drawn = {"linestyle": "--" if line.untrained else "-", "marker": marker, "markersize": 4.5}
    axes.plot(line.x, line.mean, color=colour, markeredgecolor="white", zorder=3, **drawn)
    if line.half is None:
        return
    if len(line.x) == 1:
        axes.errorbar(line.x, line.mean, line.half, color=colour, capsize=3, linewidth=1.0)
    else:
        axes.fill_between(line.x, line.mean - line.half, line.mean + line.half, color=colour, alpha=0.18, linewidth=0)


def _scale(axes: Axes, lines: list[MeanLine], *, log_x: bool) -> None:
    """Set the scales, and a range that the means determine: intervals over few seeds may leave the panel."""
    means = np.concatenate([line.mean for line in lines])
    ends = np.concatenate(
        [[*(line.mean - line.half), *(line.mean + line.half)] for line in lines if line.half is not None] or [means]
    )
    low, high = means.min(), means.max()
    if low > 0 and high / low > _STEEP:
        axes.set_yscale("log")
        axes.set_ylim(max(low / 3, min([low, *ends[ends > 0]])) / 1.2, min(high * 3, max(high, ends.max())) * 1.2)
        style.logarithmic(axes.yaxis, high / low)
    else:
        span = high - low or abs(high) or 1.0
        low, high = max(low - span / 2, min(low, ends.min())), min(high + span / 2, max(high, ends.max()))
        axes.set_ylim(low - 0.06 * span, high + 0.06 * span)
    x = [value for line in lines for value in line.x]
    if log_x:
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.25, max(x) * 1.25)
        style.logarithmic(axes.xaxis, max(x) / min(x))
    elif all(value == int(value) for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
