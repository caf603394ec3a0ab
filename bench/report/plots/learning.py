"""Learning curves, and the lead score against the time that it cost."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bench.report.content.outcomes import outcome
from bench.report.content.sections import Row, Section, score
from bench.report.plots import style
from bench.results.cell_folder import LOG
from bench.results.record import Record

_ACROSS = 4  # panels of learning curves
_CELL = (3.5, 2.2)  # inches: one panel of learning curves with its labels
_HEADING = 0.35
_CLIP = 5.0  # a panel whose full range is more than this many times its middle 98 % shows the middle


def learning_curves(section: Section, path: Path, looks: style.Looks) -> Path:
    """For each model, a panel per logged scalar against the update, with one line per training seed."""
    title = f"{section.title}: learning curves"
    logs = {
        row.label: {record.seed: log for record in row.records if (log := _log(record)) is not None}
        for row in section.rows
    }
    rows = [row for row in section.rows if logs[row.label]]
    if not rows:
        return style.message(path, title, "no log can be read")
    scalars = {
        row.label: list(dict.fromkeys(name for log in logs[row.label].values() for name in log.columns[1:]))
        for row in rows
    }
    depths = [max(1, math.ceil(len(scalars[row.label]) / _ACROSS)) for row in rows]
    dashes = {seed: style.DASHES[i % len(style.DASHES)] for i, seed in enumerate(section.seeds)}
    # Placed by hand in inches: panels keep one size however many models and scalars there are.
    wide, high = _ACROSS * _CELL[0] + 0.2, sum(depths) * _CELL[1] + _HEADING * len(rows) + 0.5 + 0.4
    figure = Figure(figsize=(wide, high))
    figure.text(0.5, 1 - 0.2 / high, style.literal(title), fontsize=style.TITLE, ha="center", va="center")
    top = high - 0.4
    for row, depth in zip(rows, depths, strict=True):
        colour = looks.colour(row.label)
        heading = textwrap.shorten(_heading(row, logs[row.label]), 130, placeholder=" ...")
        place = (0.15 / wide, (top - _HEADING / 2) / high)
        figure.text(*place, style.literal(heading), color=colour, fontsize=style.LABEL + 1, weight="bold", va="center")
        for index, name in enumerate(scalars[row.label]):
            down, right = divmod(index, _ACROSS)
            left, bottom = right * _CELL[0] + 0.7, top - _HEADING - (down + 1) * _CELL[1] + 0.55
            box = (left / wide, bottom / high, (_CELL[0] - 0.8) / wide, (_CELL[1] - 0.85) / high)
            _curve(figure.add_axes(box), name, row, logs[row.label], dashes, colour)
        top -= _HEADING + depth * _CELL[1]
    handles = [Line2D([], [], color=style.FAINT, linestyle=dash, label=f"seed {seed}") for seed, dash in dashes.items()]
    if any(row.failed for row in rows):
        handles.append(Line2D([], [], color=style.INK, marker="x", linestyle="none", label="ended early"))
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.02 / high), ncols=min(8, len(handles)))
    return style.save(figure, path)


def score_against_seconds(section: Section, path: Path, looks: style.Looks) -> Path:
    """The lead score against training seconds and against seconds per 1,000 samples, a dot per training seed."""
    lead = section.lead
    if lead is None:
        return style.message(path, f"{section.title}: score against seconds", style.nothing(section))
    handles = style.legend(section.rows, looks)
    across = style.across(handles)
    figure = Figure(figsize=(8.4, 3.7 + 0.2 * math.ceil(len(handles) / across)), layout="constrained")
    title = f"{section.title}: {lead['label']} ({style.direction(lead)}) against time"
    figure.suptitle(style.literal(title), fontsize=style.TITLE)
    left, right = figure.subplots(1, 2, sharey=True)
    _scatter(left, section, lead["name"], lambda record: record.data["training"]["seconds"], looks)
    _scatter(right, section, lead["name"], lambda record: 1000 / (record.samples_per_second or math.inf), looks)
    left.set(xlabel="training seconds", ylabel=style.literal(lead["label"]))
    right.set(xlabel="seconds per 1,000 samples")
    figure.legend(handles=handles, loc="outside lower center", ncols=across)
    return style.save(figure, path)


def _log(record: Record) -> pd.DataFrame | None:
    """The log with `update` first and without `seconds`; None if there is no log, or it cannot be read."""
    try:
        log = pd.read_csv(record.folder / LOG)
    except (OSError, ValueError):  # pandas' own errors and damaged text are ValueErrors
        return None
    if "update" not in log.columns or log.empty:
        return None
    log = log.apply(pd.to_numeric, errors="coerce").replace([math.inf, -math.inf], math.nan)
    return log[["update", *(name for name in log.columns if name not in ("update", "seconds"))]]


def _heading(row: Row, logs: dict[int, pd.DataFrame]) -> str:
    notes = [f"seed {record.seed} {outcome(record)}" for record in row.failed]
    notes += [f"seed {record.seed} has no log" for record in row.records if record.seed not in logs]
    return row.label + (f" ({', '.join(notes)})" if notes else "")


def _curve(
    axes: Axes, name: str, row: Row, logs: dict[int, pd.DataFrame], dashes: dict[int, object], colour: str
) -> None:
    ends = []
    steady = []  # values that set the range: those of finished runs, if there are any
    for record in row.records:
        log = logs.get(record.seed)
        if log is None or name not in log.columns:
            continue
        line = log[["update", name]].dropna()
        look = {"linestyle": dashes[record.seed], "marker": "." if len(line) == 1 else None}
        axes.plot(line["update"], line[name], color=colour, alpha=0.9, **look)
        if not record.finished and len(line):
            ends.append((line["update"].iloc[-1], line[name].iloc[-1]))
        values = line[name].to_numpy(dtype=float)
        if record.finished:
            steady.append(values)
        elif not row.finished:
            steady.append(values[: math.ceil(0.9 * len(values))])  # without the divergence at its end
    clipped = _limit(axes, np.concatenate(steady) if steady else np.empty(0))
    for x, y in ends:  # a run diverges before it stops: keep its mark on the panel
        axes.plot(x, np.clip(y, *axes.get_ylim()), "x", color=style.INK, clip_on=False, zorder=5)
    axes.set_title(style.literal(name) + (" (extremes cut off)" if clipped else ""))
    axes.set_xlabel("update")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _limit(axes: Axes, values: np.ndarray) -> bool:
    """Keep a spike from flattening a panel; return whether the range was cut to the middle 98 % of the values."""
    if not values.size:
        return False
    low, high = values.min(), values.max()
    inner_low, inner_high = np.percentile(values, [1, 99])
    cut = high - low > _CLIP * (inner_high - inner_low) > 0
    if cut:
        low, high = inner_low, inner_high
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    drawn = [line.get_ydata() for line in axes.get_lines() if len(line.get_ydata())]
    axes.set_ylim(low - pad, high + pad)
    return any(np.min(y) < low - pad or np.max(y) > high + pad for y in drawn)


def _scatter(
    axes: Axes, section: Section, name: str, seconds: Callable[[Record], float | None], looks: style.Looks
) -> None:
    spans = []
    for row in section.rows:
        dots = [(x, y) for record in row.finished if (x := seconds(record)) and (y := score(record, name)) is not None]
        if dots:
            spans += [x for x, _ in dots]
            look = {"marker": looks.marker(row.label), "color": looks.colour(row.label), "markeredgecolor": "white"}
            axes.plot(*zip(*dots, strict=True), linestyle="none", markersize=7, alpha=0.85, **look)
    axes.set_xscale("log")
    if not spans:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=style.FAINT)
        axes.xaxis.set_major_locator(NullLocator())
        return
    axes.set_xlim(min(spans) / 2, max(spans) * 2)  # at least a factor of four: two ticks of 1, 2, 5 always fit
    style.logarithmic(axes.xaxis, max(spans) / min(spans))
