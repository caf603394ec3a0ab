"""Scores: each model's mean, its interval and its seeds, between the references."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style
from bench.results.schema import GROUPS

_LINES = {"real": (0, (5, 2)), "noise": (0, (1.2, 1.2))}  # dashes of the references
_INK = "#444444"
_FLAT = 3.0  # noise this many times above the models would flatten them on a linear axis
_STEEP = 30.0  # so would a range of values wider than this
_FAR = 100.0  # a reference this many times below all models is not drawn on a logarithmic axis but named below it


def scores(section: Section, folder: Path, looks: style.Looks) -> list[Path]:
    """A figure per group of scores: `scores.png` for the samples, `scores_<group>.png` for each other group."""
    written = []
    for group in GROUPS:
        metrics = [metric for metric in section.tabulated if metric["group"] == group]
        if metrics:
            name = "scores.png" if group == "samples" else f"scores_{group}.png"
            written.append(_figure(section, metrics, folder / name, looks))
    return written


def _figure(section: Section, metrics: list[dict[str, Any]], path: Path, looks: style.Looks) -> Path:
    """A panel per score, with a row for each model that has one of them."""
    names = [metric["name"] for metric in metrics]
    rows = [row for row in section.rows if any(row.score(name) for name in names)]
    handles = style.legend(rows, looks)
    if any(row.untrained(name) for row in rows for name in names):
        handles.append(Line2D([], [], color=style.FAINT, marker="x", linestyle="none", label="untrained"))
    for one in section.references:
        if one.kind in _LINES and any(name in one.metrics for name in names):
            label = style.literal(section.reference_label(one, names))
            handles.append(Line2D([], [], label=label, linestyle=_LINES[one.kind], color=_INK))
    title, high = _title(section, path, metrics), 0.3 * len(rows) + 1.3
    figure, panels = style.panels(title, len(metrics), 3, (3.6, high), handles, left=0.2, right=0.2, above=0.5)
    for axes, metric in zip(panels, metrics, strict=True):
        draw(axes, section, metric, rows, looks)
    return style.save(figure, path)


def _title(section: Section, path: Path, metrics: list[dict[str, Any]]) -> str:
    if len(section.seeds) > 1:
        return f"{style.heading(section, path)}, mean and its 95 % t interval over training seeds, a dot per seed"
    of = next((metric["interval_of"] for metric in metrics if metric["interval"]), "")
    return f"{style.heading(section, path)}, of one training seed" + (
        f", 95 % interval over images ({of})" if of else ""
    )


def draw(axes: Axes, section: Section, metric: dict[str, Any], rows: list[Row], looks: style.Looks) -> None:
    """One score: of each model its mean, interval, seeds and value with the first weights, then the references."""
    name = metric["name"]
    log, low, high = extent(section, metric, rows)
    for place, row in enumerate(rows):
        if (summary := row.score(name)) is None:
            continue
        colour, dots = looks.colour(row.label), row.values(name)
        if summary.interval:
            axes.plot(np.clip(summary.interval, low, high), [place, place], color=style.INK, linewidth=1.1)
        axes.plot(summary.mean, place, marker="|", markersize=15, markeredgewidth=2.2, color=colour)
        heights = place + (np.linspace(-0.2, 0.2, len(dots)) if len(dots) > 1 else np.zeros(1))
        look = {"marker": looks.marker(row.label), "markersize": 4.5, "color": colour, "linestyle": "none"}
        axes.plot(dots, heights, markeredgecolor="white", markeredgewidth=0.6, **look)
        if first := row.untrained(name):
            axes.plot(first.mean, place, marker="x", markersize=6, color=colour)
    outside = []
    for one in section.references:
        if one.kind in _LINES and (own := one.metrics.get(name)):
            if low <= own["value"] <= high:
                axes.axvline(own["value"], color=_INK, linestyle=_LINES[one.kind], linewidth=1.2, zorder=1)
            else:
                outside.append(f"{one.title}: {style.tick(own['value'])}")
    lead = ", lead score" if metric is section.lead or metric.get("lead") else ""
    head = f"{textwrap.fill(metric['label'], 40)}\n({style.direction(metric)}{lead}{', logarithmic' if log else ''})"
    axes.set_title(style.literal(head), y=1.0)  # a fixed place saves matplotlib the search for one
    axes.set_xlabel(style.literal(f"outside: {', '.join(outside)}" if outside else ""), fontsize=style.SMALL)
    if log:
        axes.set_xscale("log")
        style.logarithmic(axes.xaxis, high / low)
    axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6), yticks=[])


def extent(section: Section, metric: dict[str, Any], rows: list[Row]) -> tuple[bool, float, float]:
    """Whether the axis of a score is logarithmic, and its ends: every seed is inside, and so are near references."""
    name = metric["name"]
    dots = [dot for row in rows for dot in row.values(name)]
    if not dots:
        return False, 0.0, 1.0
    others = [one.metrics[name]["value"] for one in section.references if one.kind in _LINES and name in one.metrics]
    most = max([*dots, *others])
    steep = most > _FLAT * max(dots) or most > _STEEP * min(dots)
    log = metric["better"] == "lower" and min(dots) > 0 and steep
    others += [first.mean for row in rows if (first := row.untrained(name))]
    reach = _FLAT * max(abs(dot) for dot in dots)
    near = [value for value in others if (value > min(dots) / _FAR if log else abs(value) <= reach)]
    ends = [end for row in rows if (own := row.score(name)) for end in own.interval or ()]
    return log, *style.limits([*dots, *near], ends, log=log)
