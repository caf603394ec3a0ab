"""Scores against K, sigma and n_f: the mean over training seeds with its interval, and the paper's curve, dashed."""

from __future__ import annotations

from pathlib import Path

import bench.report.plots  # noqa: F401 - before matplotlib, which it imports under any MPLBACKEND

# isort: split
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from bench.paper.captions import comparable
from bench.paper.measured import Measured, PaperRow
from bench.paper.plan import FIGURES, MODEL, SYMBOLS, Ablation
from bench.paper.reported import reported
from bench.paper.tables import example
from bench.report.page.figures import CaptionedPicture
from bench.report.plots import style

PANELS = ((("FID", "FD"), "FID"), (("KID",), None), (("IS",), "IS"), (("gradient norm",), "gradient norm"))
_PAPER = "#777777"
_GRID = {"left": 0.085, "right": 0.915, "bottom": 0.17, "top": 0.89, "wspace": 0.5, "hspace": 0.38}
_FAR = 4  # an axis with a larger ratio of its ends is logarithmic


def write(out: Path, ablations: list[tuple[Ablation, list[Measured]]]) -> list[CaptionedPicture]:
    """Draw OUT/figures/score-by-K.png and the like, one per ablation and protocol; nothing if no cell finished."""
    with style.style():
        drawings = [
            _draw(out, one, part)
            for one, parts in ablations
            for part in parts
            if any(record.finished for record in part.records)
        ]
    kept = {drawing.path for drawing in drawings}
    for path in (out / FIGURES).glob("score-by-*.png"):
        if path not in kept:
            path.unlink()
    return drawings


def _draw(out: Path, one: Ablation, part: Measured) -> CaptionedPicture:
    ending = f".protocol-{part.number}" if part.number > 1 else ""
    same = comparable(one.table, part)
    colour = style.Looks([MODEL]).colour(MODEL)
    figure = Figure(figsize=(8.4, 6.4))
    figure.suptitle(style.literal(f"{part.dataset}: scores by {one.symbol}"), fontsize=style.TITLE)
    for axes, (names, theirs) in zip(figure.subplots(2, 2, gridspec_kw=_GRID).flat, PANELS, strict=True):
        if metric := example(part, names):
            _measured(axes, one, part, metric["name"], colour)
            axes.set(xlabel=one.symbol, ylabel=style.literal(metric["label"]), title=style.direction(metric))
            _reported(axes, one, theirs, same=same)
            _scale(axes, one, part)
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, f"no {names[-1]} measured", ha="center", color=style.FAINT, transform=axes.transAxes)
    how = "mean, 95 % t interval, seeds as dots" if len(one.seeds) > 1 else "one training seed"
    theirs = "on the right-hand axis: CIFAR-10, Inception features: shapes compare, numbers do not"
    theirs = "reported (CIFAR-10, same features)" if same else f"reported, {theirs}"
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"measured: {how}"),
        Line2D([], [], color=_PAPER, marker="D", markersize=4, linestyle="--", label=theirs),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=1)
    path = style.save(figure, out / FIGURES / f"score-by-{one.symbol}{ending}.png")
    return CaptionedPicture(path, f"Scores by {one.symbol}", _caption(one, part, same))


def _measured(axes: Axes, one: Ablation, part: Measured, name: str, colour: str) -> None:
    """Draw the means with their intervals, and a dot per seed."""
    lines = sorted(part.rows, key=lambda line: line.place(one.axis))
    found = [(line.place(one.axis), line, summary) for line in lines if (summary := line.row.score(name))]
    places, means = [place for place, *_ in found], [summary.mean for *_, summary in found]
    look = {"color": colour, "marker": "o", "markersize": 5, "capsize": 3, "linewidth": 1.3, "zorder": 4}
    axes.errorbar(places, means, [summary.half or 0.0 for *_, summary in found], **look)
    beside = axes.transData + ScaledTranslation(6 / 72, 0, axes.figure.dpi_scale_trans)  # points, to the right
    for place, line, _ in found:
        for entry in line.row.entries(name) if len(line.row.finished) > 1 else ():
            axes.plot(place, entry["value"], ".", color=colour, markersize=5, alpha=0.5, zorder=3, transform=beside)


def _reported(axes: Axes, one: Ablation, score: str | None, *, same: bool) -> None:
    """Draw the paper's numbers, on an axis of their own if they cannot be compared."""
    values = [value for value in reported().of(one.table) if value.score == score]
    if not values:
        return
    right = axes if same else axes.twinx()
    look = {"color": _PAPER, "linestyle": "--", "marker": "D", "markersize": 3.5, "linewidth": 1.1, "zorder": 2}
    right.plot([getattr(value, one.axis) for value in values], [float(value.value) for value in values], **look)
    if right is not axes:
        right.grid(visible=False)
        right.spines["right"].set_visible(True)
        right.set_ylabel(f"reported {score}", color=_PAPER)
        right.tick_params(axis="y", colors=_PAPER)


def _scale(axes: Axes, one: Ablation, part: Measured) -> None:
    """Set the axis of K, sigma or n_f, with a tick at every measured point, and a note at points without a score."""
    look = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": style.SMALL, "color": style.FAINT}
    for line in part.rows:
        if not line.row.finished:
            at = (line.place(one.axis), 0.03)
            axes.text(*at, style.literal(line.outcome), transform=axes.get_xaxis_transform(), **look)
    own = sorted({line.place(one.axis) for line in part.rows})
    places = sorted({*own, *(float(getattr(value, one.axis)) for value in reported().of(one.table))})
    if places[-1] / places[0] > _FAR:
        axes.set_xscale("log")
        axes.set_xlim(places[0] / 1.15, places[-1] * 1.15)
    else:
        margin = 0.06 * (places[-1] - places[0])
        axes.set_xlim(places[0] - margin, places[-1] + margin)
    ticks: list[float] = []
    for place in own + places:  # ours first, the paper's where there is room
        if all(abs(place / tick - 1) > 0.12 for tick in ticks):
            ticks.append(place)
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _caption(one: Ablation, part: Measured, same: bool) -> str:
    fixed = ", ".join(f"{SYMBOLS[name]} = {value:g}" for name, value in one.fixed().items() if name != one.axis)
    text = f"{part.dataset}: scores against {one.symbol}" + (f" at {fixed}" if fixed else "")
    if len(one.seeds) > 1:
        text += f"; error bars are 95 % t intervals of the mean over up to {len(one.seeds)} training seeds."
    else:
        text += "; of a single training seed, so that nothing is known of how it varies between seeds."
    if one.axis == "steps":
        text += " Each K has its own sigma, as in the paper: table 2 lists both."
    missing = [_incomplete(one, line) for line in part.rows if len(line.row.finished) < line.planned]
    if missing:
        text += f" Incomplete: {'; '.join(missing)}."
    dashed = " Dashed: the paper's numbers on CIFAR-10"
    return text + (f"{dashed}." if same else f"{dashed}, of other images and features, on an axis of their own.")


def _incomplete(one: Ablation, line: PaperRow) -> str:
    return f"{one.symbol} = {line.place(one.axis):g}: {line.row.status}"
