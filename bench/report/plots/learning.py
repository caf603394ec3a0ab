"""Learning curves: every logged scalar against the update."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style
from bench.results.cell_folder import LOG
from bench.results.record import Record

_CLIP = 5.0  # a panel whose full range is more than this many times its middle 98 % shows the middle


def learning_curves(section: Section, path: Path, looks: style.Looks) -> list[Path]:
    """For each model, a panel per logged scalar, with a line per training seed; nothing if no log can be read."""
    logs = {record.path: log for record in section.records if (log := _log(record)) is not None}
    own = {row.label: [logs[record.path] for record in row.records if record.path in logs] for row in section.rows}
    names = {label: dict.fromkeys(name for log in found for name in log.columns[1:]) for label, found in own.items()}
    wanted = [(row, name) for row in section.rows for name in names[row.label]]
    if not wanted:
        return []
    dashes = {seed: style.DASHES[i % len(style.DASHES)] for i, seed in enumerate(section.seeds)}
    handles = style.legend([row for row in section.rows if own[row.label]], looks, linestyle="-", marker=False)
    for seed, dash in dashes.items():
        handles.append(Line2D([], [], color=style.FAINT, linestyle=dash, label=f"seed {seed}"))
    if any(row.failed for row, _ in wanted):
        handles.append(Line2D([], [], color=style.INK, marker="x", linestyle="none", label="ended early"))
    figure, panels = style.panels(style.heading(section, path), len(wanted), 4, (3.5, 2.2), handles)
    for axes, (row, name) in zip(panels, wanted, strict=True):
        _curve(axes, name, row, logs, dashes, looks.colour(row.label))
    return [style.save(figure, path)]


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


def _curve(
    axes: Axes, name: str, row: Row, logs: dict[Path, pd.DataFrame], dashes: dict[int, object], colour: str
) -> None:
    drawn, steady = [], []
    for record in row.records:
        log = logs.get(record.path)
        if log is None or name not in log.columns:
            continue
        line = log[["update", name]].dropna()
        look = {"linestyle": dashes[record.seed], "marker": "." if len(line) == 1 else None}
        axes.plot(line["update"], line[name], color=colour, alpha=0.9, **look)
        drawn.append((record, line))
        if record.finished or not row.finished:  # a run that diverged does not set the range if others finished
            steady.append(line[name].to_numpy(dtype=float)[: None if record.finished else math.ceil(0.9 * len(line))])
    clipped = _limit(axes, np.concatenate(steady) if steady else np.empty(0))
    for record, line in drawn:  # a run diverges before it stops: keep its mark on the panel
        if not record.finished and len(line):
            end = np.clip(line[name].iloc[-1], *axes.get_ylim())
            axes.plot(line["update"].iloc[-1], end, "x", color=style.INK, clip_on=False, zorder=5)
    axes.set_title(style.literal(f"{row.label}: {name}") + (" (extremes cut off)" if clipped else ""))
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
