"""Score bars: each model's mean, its interval and its seeds, between the real and the noise reference."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.content.numerals import estimate
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.plots import style
from bench.results.schema import GROUPS

_LINES = {"real": (0, (5, 2)), "noise": (0, (1.2, 1.2))}  # dashes of the references
_INK = "#444444"
_FLAT = 3.0  # noise this many times above the models would flatten them on a linear axis
_FAR = 100.0  # a reference this many times below all models is not drawn but named at the logarithmic axis' edge


def scores(section: Section, folder: Path, looks: style.Looks) -> list[Path]:
    """A figure per group of scores: `scores.png` for the samples, `scores_<group>.png` for each other group."""
    if not section.metrics:
        return [style.message(folder / "scores.png", f"{section.title}: scores", style.nothing(section))]
    written = []
    for group in GROUPS:
        metrics = [metric for metric in section.tabulated if metric["group"] == group]
        if metrics:
            name = "scores.png" if group == "samples" else f"scores_{group}.png"
            written.append(_figure(section, group, metrics, folder / name, looks))
    return written


def _figure(section: Section, group: str, metrics: list[dict[str, Any]], path: Path, looks: style.Looks) -> Path:
    names = [metric["name"] for metric in metrics]
    rows = [row for row in section.rows if not row.finished or any(row.score(name) for name in names)]
    if group == "diagnostics":  # only some models have them: one without them lacks nothing
        rows = [row for row in rows if row.finished]
    panels = [_BarPanel.of(section, metric, rows) for metric in metrics]
    heads = [_head(section, metric, panel) for metric, panel in zip(metrics, panels, strict=True)]
    handles = [
        Line2D([], [], label=style.literal(section.reference_label(one, names)), linestyle=_LINES[one.kind], color=_INK)
        for one in section.references
        if one.kind in _LINES and any(name in one.metrics for name in names)
    ]
    if any(bar.untrained is not None for panel in panels for bar in panel.bars):
        handles.append(Line2D([], [], label="the same model, untrained", linestyle="--", color=style.FAINT))
    above = 0.17 * max(head.count("\n") + 1 for head in heads) + 0.12
    below = 0.16 * max(label.count("\n") + 1 for panel in panels for label in panel.labels) + 0.25
    longest = max(len(line) for panel in panels for label in panel.labels for line in label.splitlines())
    each = max(1.1, longest * 0.6 * style.SMALL / 72 + 0.1)  # DejaVu Sans takes about 0.6 of its size per character
    size = max(3.6, each * len(rows) + 1.1), above + 1.7 + below
    title, across = _title(section, group, metrics), 3 if len(rows) <= 4 else 2
    figure, every = style.panels(title, len(metrics), across, size, handles, above=above, below=below)
    for axes, panel, head in zip(every, panels, heads, strict=True):
        axes.set_title(style.literal(head), y=1.0)  # a fixed place saves matplotlib the search for one
        panel.draw(axes, looks)
    return style.save(figure, path)


def _head(section: Section, metric: dict[str, Any], panel: _BarPanel) -> str:
    lead = ", lead score" if metric is section.lead or metric.get("lead") else ""
    log = ", logarithmic" if panel.log else ""
    return f"{textwrap.fill(metric['label'], 40)}\n({style.direction(metric)}{lead}{log})"


def _title(section: Section, group: str, metrics: list[dict[str, Any]]) -> str:
    what = "scores" if group == "samples" else f"{group} scores" if group != "diagnostics" else group
    if len(section.seeds) > 1:
        return f"{section.title}: {what}, mean and its 95 % t interval over training seeds, a dot per seed"
    of = next((metric["interval_of"] for metric in metrics if metric["interval"]), "")
    return f"{section.title}: {what} of one training seed" + (f", 95 % interval over images ({of})" if of else "")


@dataclass(frozen=True)
class _Bar:
    """One model in one panel; without a mean if it has no score."""

    row: Row
    mean: float | None
    low: float | None  # of the whisker
    high: float | None
    dots: list[float]
    text: str
    untrained: float | None = None  # the model's mean with its first weights

    @classmethod
    def of(cls, row: Row, name: str) -> _Bar:
        summary = row.score(name)
        if summary is None:
            return cls(row, None, None, None, [], "no score" if row.finished else style.lost(row) or "not run")
        lost = f"\n({style.lost(row)})" if row.failed else ""
        text = estimate(summary).replace(" [", "\n[") + lost
        first = own.mean if (own := row.untrained(name)) else None
        text += f"\nuntrained: {style.tick(first)}" if first is not None else ""
        return cls(row, summary.mean, *(summary.interval or (None, None)), row.values(name), text, first)


@dataclass(frozen=True)
class _BarPanel:
    bars: list[_Bar]
    references: list[tuple[str, str, float]]  # kind, title, value
    log: bool

    @classmethod
    def of(cls, section: Section, metric: dict[str, Any], rows: list[Row]) -> _BarPanel:
        name = metric["name"]
        bars = [_Bar.of(row, name) for row in rows]
        references = [
            (one.kind, one.title, one.metrics[name]["value"])
            for one in section.references
            if one.kind in _LINES and name in one.metrics
        ]
        dots = [dot for bar in bars for dot in bar.dots]
        most = max([*dots, *(value for _, _, value in references)], default=0.0)
        log = metric["better"] == "lower" and bool(dots) and min(dots) > 0
        return cls(bars, references, log and (most > _FLAT * max(dots) or most > 30 * min(dots)))

    @property
    def labels(self) -> list[str]:
        """The text below each bar: the model, its score and what is missing."""
        return ["\n".join([*textwrap.wrap(bar.row.label, 16), bar.text]) for bar in self.bars]

    def draw(self, axes: Axes, looks: style.Looks) -> None:
        bottom, top = self._limits()
        for place, bar in enumerate(self.bars):
            if bar.mean is not None:
                self._bar(axes, place, bar, looks, bottom)
                if bar.untrained is not None and bottom <= bar.untrained <= top:  # its number is below the bar
                    colour = looks.colour(bar.row.label)
                    axes.plot([place - 0.42, place + 0.42], [bar.untrained] * 2, "--", color=colour, linewidth=1.4)
        for kind, title, value in self.references:
            if bottom <= value <= top:
                axes.axhline(value, color=_INK, linestyle=_LINES[kind], linewidth=1.2, zorder=1)
            else:  # named at the edge, so that it does not flatten the models
                above = value > top
                text = style.literal(f"{title}: {style.tick(value)} {'↑' if above else '↓'}")
                look = {"fontsize": style.SMALL, "color": _INK, "ha": "right", "va": "top" if above else "bottom"}
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
                axes.text(0.99, 0.99 if above else 0.01, text, transform=axes.transAxes, bbox=box, zorder=6, **look)
        axes.set_xticks(range(len(self.bars)), [style.literal(label) for label in self.labels])
        axes.set_xlim(-0.6, len(self.bars) - 0.4)
        axes.grid(visible=False, axis="x")
        if self.log:
            axes.set_yscale("log")
            style.logarithmic(axes.yaxis, top / bottom)
        else:
            axes.axhline(0, color=style.FAINT, linewidth=0.8)
        axes.set_ylim(bottom, top)

    def _bar(self, axes: Axes, place: int, bar: _Bar, looks: style.Looks, bottom: float) -> None:
        colour = looks.colour(bar.row.label)
        if self.log:  # a bar has no base on a logarithmic axis
            axes.plot([place - 0.31, place + 0.31], [bar.mean, bar.mean], color=colour, linewidth=2.2, alpha=0.8)
        else:
            axes.bar(place, bar.mean, width=0.62, color=colour, alpha=0.45)
        if bar.low is not None and bar.high is not None and bar.high > bar.low:
            low = max(bar.low, bottom / 2) if self.log else bar.low
            whisker = [[max(0.0, bar.mean - low)], [max(0.0, bar.high - bar.mean)]]
            axes.errorbar(place, bar.mean, whisker, color=style.INK, capsize=4, linewidth=1.1)
        spots = 0.16 * (np.arange(len(bar.dots)) - (len(bar.dots) - 1) / 2) / max(1, (len(bar.dots) - 1) / 2)
        look = {"marker": looks.marker(bar.row.label), "markersize": 4.5, "color": colour, "linestyle": "none"}
        axes.plot(place + spots, bar.dots, markeredgecolor="white", markeredgewidth=0.6, **look)

    def _limits(self) -> tuple[float, float]:
        """The range of the axis. A whisker may leave it: for few seeds it can be far longer than everything else."""
        dots = [dot for bar in self.bars for dot in bar.dots]
        ends = [end for bar in self.bars for end in (bar.low, bar.high) if end is not None]
        values = [value for _, _, value in self.references]
        values += [bar.untrained for bar in self.bars if bar.untrained is not None]
        if not dots:
            return 0.0, 1.0
        if self.log:
            shown = [*dots, *(value for value in values if value > min(dots) / _FAR)]
            low, high = min(shown), max(shown)
            ends = [end for end in ends if low / 4 < end < high * 4]
            room = 2.5 if any(value < low for value in values) else 1.4  # for the text that names such a reference
            return min([low, *ends]) / room, max([high, *ends]) * 1.4
        reach = _FLAT * max(abs(dot) for dot in dots)
        shown = [0.0, *dots, *(value for value in values if abs(value) <= reach)]
        low, high = min(shown), max(shown)
        span = high - low or 1.0
        high = min(high + span / 2, max([high, *ends]))
        if min(dots) < 0:
            low = max(low - span / 2, min([low, *ends]))
        room = 0.25 if any(value > high for value in values) else 0.08
        return (low - 0.08 * span if low < 0 else 0.0), high + room * span
