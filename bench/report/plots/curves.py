"""The curves in the records: a score against decodes or sampler steps, a quantity along the chain; a line per model."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
_DEEPEST = 10.0  # on it, a band ends at this part of its mean: an interval that reaches 0 has no lower end there
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

    def ends(self, *, log: bool) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the upper edge of the interval at each x, the mean where it has none."""
        half = 0.0 if self.half is None else self.half
        low = np.maximum(self.mean - half, self.mean / _DEEPEST) if log else self.mean - half
        return low, self.mean + half


def curves(section: Section, folder: Path, looks: style.Looks) -> list[Path]:
    """A figure `curve_<name>.png` for each curve in a record, and one for each figure that curves share."""
    drawn = []
    every: dict[str, dict[str, Any]] = {}  # the first example of every curve in the records, by name
    for curve in (curve for record in section.records for curve in record.data["curves"]):
        every.setdefault(curve["name"], curve)
    for name, curve in every.items():
        if not curve["figures"]:
            title = f"{section.title}: {curve['title']}"
            drawn += _draw(section, [("", curve)], folder / file_name(name), looks, title)
    for figure in dict.fromkeys(figure for curve in every.values() for figure in curve["figures"]):
        path = folder / file_name(figure)
        own = [(curve["figures"][figure], curve) for curve in every.values() if figure in curve["figures"]]
        own.sort(key=lambda one: one[1]["log_x"])
        drawn += _draw(section, own, path, looks, f"{section.title}: {style.words(path)[0]}")
    return drawn


def file_name(name: str) -> str:
    """`MSE by decodes` -> `curve_mse_by_decodes.png`."""
    return f"curve_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.png"


def _draw(
    section: Section, wanted: list[tuple[str, dict[str, Any]]], path: Path, looks: style.Looks, title: str
) -> list[Path]:
    """The curves of a figure, each with the title of its panel, side by side; nothing if no finished run has any.

    In a figure that curves share, those on a linear axis end at the setting in use, and none is of an untrained model.
    """
    found = []
    for panel, curve in wanted:
        kinds = (False,) if panel else (False, True)  # untrained
        lines = [line for row in section.rows for one in kinds for line in _lines(row, curve["name"], untrained=one)]
        if panel and not curve["log_x"]:
            lines = [kept for line in lines if (kept := _before_mark(line))]
        if lines:
            found.append((panel, curve, lines))
    if not found:
        return []
    every = [line for _, _, lines in found for line in lines]
    shown = {line.label for line in every}
    handles = style.legend([row for row in section.rows if row.label in shown], looks, linestyle="-")
    if any(line.mark is not None for line in every):
        handles.append(Line2D([], [], color=style.FAINT, linestyle=":", label="setting in use"))
    if any(line.untrained for line in every):
        handles.append(Line2D([], [], color=style.FAINT, linestyle="--", label="the same model, untrained"))
    size = (4.0, 3.0) if wanted[0][0] else (6.6, 3.9)
    figure, panels = style.panels(title, len(found), len(found), size, handles)
    for axes, (panel, curve, lines) in zip(panels, found, strict=True):
        if panel or any(line.half is not None for line in lines):
            axes.set_title(style.literal(panel) or _MEANS)
        fill(axes, lines, curve, looks)
    return [style.save(figure, path)]


def fill(axes: Axes, lines: list[MeanLine], curve: dict[str, Any], looks: style.Looks) -> None:
    """The lines, their marks, and the scales and labels that `curve` has (`x_label`, `y_label`, `log_x`)."""
    log = _scale(axes, lines, log_x=curve["log_x"])
    for line in lines:
        colour = looks.colour(line.label)
        marker = looks.marker(line.label) if len(line.x) < _MANY else None
        drawn = {"linestyle": "--" if line.untrained else "-", "marker": marker, "markersize": 4.5}
        axes.plot(line.x, line.mean, color=colour, markeredgecolor="white", zorder=3, **drawn)
        low, high = line.ends(log=log)
        if line.half is not None and len(line.x) == 1:
            axes.errorbar(line.x, line.mean, [line.mean - low, high - line.mean], color=colour, capsize=3, linewidth=1)
        elif line.half is not None:
            axes.fill_between(line.x, low, high, color=colour, alpha=0.18, linewidth=0)
    marks = {line.mark for line in lines if line.mark is not None}
    for mark in sorted(marks):
        owners = {line.label for line in lines if line.mark == mark}
        own = len(marks) > 1 and len(owners) == 1
        axes.axvline(mark, color=looks.colour(*owners) if own else style.FAINT, linestyle=":", linewidth=1.3, zorder=1)
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


def _scale(axes: Axes, lines: list[MeanLine], *, log_x: bool) -> bool:
    """Set the scales, and a range that the means determine: intervals over few seeds may leave the panel.

    Return whether the y axis is logarithmic.
    """
    means = np.concatenate([line.mean for line in lines])
    low, high = means.min(), means.max()
    log = bool(low > 0 and high / low > _STEEP)
    lows, highs = (np.concatenate(ends) for ends in zip(*(line.ends(log=log) for line in lines), strict=True))
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(style.limits(means, [*lows, *highs], log=log))
    if log:
        style.logarithmic(axes.yaxis, high / low)
    x = [value for line in lines for value in line.x]
    if log_x:
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.25, max(x) * 1.25)
        style.logarithmic(axes.xaxis, max(x) / min(x))
    elif all(value == int(value) for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return log
