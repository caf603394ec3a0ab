"""The curves in the records: a score against decodes or sampler steps, a quantity along the chain; a line per model."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.report.content.sections import Row, Section, summarize
from bench.report.plots import style

_STEEP = 30.0  # a range of positive means wider than this gets a logarithmic axis
_MANY = 25  # a line with this many points needs no markers
_MEANS = "mean and its 95 % t interval over training seeds"


@dataclass(frozen=True)
class _MeanLine:
    """A model's mean over its seeds at each x, with half the width of its 95 % t interval (None for one seed)."""

    row: Row
    x: list[float]
    mean: np.ndarray
    half: np.ndarray | None
    mark: float | None
    untrained: bool = False  # of the model with its first weights


def curves(section: Section, folder: Path, looks: style.Looks) -> list[Path]:
    """A figure `curve_<name>.png` for each curve in a record of the section."""
    drawn = []
    for name, curve in _every(section).items():
        lines = [line for row in section.rows for line in [*_lines(row, name), *_lines(row, name, untrained=True)]]
        path, title = folder / file_name(name), f"{section.title}: {curve['title']}"
        drawn += _draw_panels(section, [("", curve, lines)], path, looks, title, width=6.6, high=4.1)
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
        found.append((curve["figures"][figure], curve, lines))
    return _draw_panels(section, found, path, looks, title, width=1.2 + 3.4 * len(found), high=3.4)


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
    found: Sequence[tuple[str, dict[str, Any], list[_MeanLine]]],  # a panel's title, its curve, a line per model
    path: Path,
    looks: style.Looks,
    title: str,
    *,
    width: float,  # of the figure in inches
    high: float,  # of a panel in inches
) -> list[Path]:
    if not found:
        return []
    shown = {line.row.label for _, _, lines in found for line in lines}
    handles = style.legend([row for row in section.rows if row.label in shown], looks, linestyle="-")
    if any(line.mark is not None for _, _, lines in found for line in lines):
        handles.append(Line2D([], [], color=style.FAINT, linestyle=":", label="setting in use"))
    if any(line.untrained for _, _, lines in found for line in lines):
        handles.append(Line2D([], [], color=style.FAINT, linestyle="--", label="the same model, untrained"))
    # Placed by hand in inches: a record has several curves, and matplotlib's own layout takes a second look at each.
    pitch = width / len(found)
    across = style.across(handles, round(14 * width))
    foot = 0.15 + 0.19 * -(-len(handles) // across)
    height = high + foot
    figure = Figure(figsize=(width, height))
    heading = textwrap.wrap(title, round(11 * width))
    figure.text(0.5, 1 - 0.1 / height, style.literal("\n".join(heading)), fontsize=style.TITLE, ha="center", va="top")
    above = 0.45 + 0.2 * len(heading)
    for index, (panel, curve, lines) in enumerate(found):
        place = ((index * pitch + 0.8) / width, (foot + 0.5) / height)
        axes = figure.add_axes((*place, (pitch - 1.0) / width, (high - 0.5 - above) / height))
        if panel or any(line.half is not None for line in lines):
            axes.set_title(style.literal(panel) or _MEANS)
        _fill(axes, lines, curve, looks)
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.02 / height), ncols=across)
    return [style.save(figure, path)]


def _fill(axes: Axes, lines: list[_MeanLine], curve: dict[str, Any], looks: style.Looks) -> None:
    """The lines, their marks, scales and labels."""
    for line in lines:
        _draw(axes, line, looks)
    marks = {line.mark for line in lines if line.mark is not None}
    for mark in sorted(marks):
        owners = {line.row.label for line in lines if line.mark == mark}
        colour = style.FAINT if len(marks) == 1 else looks.colour(min(owners)) if len(owners) == 1 else style.FAINT
        axes.axvline(mark, color=colour, linestyle=":", linewidth=1.3, zorder=1)
    _scale(axes, lines, log_x=curve["log_x"])
    axes.set_xlabel(style.literal(curve["x_label"]))
    axes.set_ylabel(style.literal(curve["y_label"]))


def _before_mark(line: _MeanLine) -> _MeanLine | None:
    """The line up to the setting in use, without the mark itself; None if nothing is left."""
    n = sum(x < line.mark for x in line.x) if line.mark is not None else len(line.x)
    half = None if line.half is None else line.half[:n]
    return replace(line, x=line.x[:n], mean=line.mean[:n], half=half, mark=None) if n else None


def _lines(row: Row, name: str, *, untrained: bool = False) -> list[_MeanLine]:
    """One line of the mean where all seeds have the same x, else a line per seed; none without the curve."""
    found = [record.untrained_curve(name) if untrained else record.curve(name) for record in row.finished]
    own = [curve for curve in found if curve]
    parted = [[curve] for curve in own]
    if own and all(curve["x"] == own[0]["x"] for curve in own):
        parted = [own]
    lines = []
    for members in parted:
        order = np.argsort(members[0]["x"], kind="stable")
        summaries = [summarize(values) for values in zip(*(curve["y"] for curve in members), strict=True)]
        halves = [summaries[i].half for i in order]
        x, mean = [members[0]["x"][i] for i in order], np.array([summaries[i].mean for i in order])
        half = np.array(halves) if None not in halves else None
        lines.append(_MeanLine(row, x, mean, half, members[0]["mark"], untrained))
    return lines


def _draw(axes: Axes, line: _MeanLine, looks: style.Looks) -> None:
    colour = looks.colour(line.row.label)
    marker = looks.marker(line.row.label) if len(line.x) < _MANY else None
    drawn = {"linestyle": "--" if line.untrained else "-", "marker": marker, "markersize": 4.5}
    axes.plot(line.x, line.mean, color=colour, markeredgecolor="white", zorder=3, **drawn)
    if line.half is None:
        return
    if len(line.x) == 1:
        axes.errorbar(line.x, line.mean, line.half, color=colour, capsize=3, linewidth=1.0)
    else:
        axes.fill_between(line.x, line.mean - line.half, line.mean + line.half, color=colour, alpha=0.18, linewidth=0)


def _scale(axes: Axes, lines: list[_MeanLine], *, log_x: bool) -> None:
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
    if log_x:
        x = [value for line in lines for value in line.x]
        axes.set_xscale("log")
        axes.set_xlim(min(x) / 1.25, max(x) * 1.25)
        style.logarithmic(axes.xaxis, max(x) / min(x))
    elif all(value == int(value) for line in lines for value in line.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
