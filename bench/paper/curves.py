"""Scores against K, sigma and n_f: the mean over training seeds with its interval, the paper's curve dashed beside."""

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
from bench.paper.figures import FOLDER, Drawing
from bench.paper.measured import Line, Part
from bench.paper.plan import MODEL, Ablation
from bench.paper.reported import Value, reported
from bench.paper.tables import SYMBOLS, example
from bench.report.content.sections import score
from bench.report.plots import style

PANELS = ((("FID", "FD"), "FID"), (("KID",), None), (("IS",), "IS"), (("gradient norm",), "gradient norm"))
_PAPER = "#777777"
_GRID = {"left": 0.085, "right": 0.915, "bottom": 0.17, "top": 0.89, "wspace": 0.5, "hspace": 0.38}
_FAR = 4  # a range of the axis from which on it is logarithmic


def write(out: Path, ablations: list[tuple[Ablation, list[Part]]]) -> list[Drawing]:
    """Draw OUT/figures/score-by-K.png and its kin, one for each protocol; nothing where no cell finished."""
    drawings = []
    with style.style():
        for one, parts in ablations:
            for part in parts:
                if any(record.finished for record in part.records):
                    drawings.append(_draw(out, one, part))
    kept = {drawing.path for drawing in drawings}
    for path in (out / FOLDER).glob("score-by-*.png"):
        if path not in kept:
            path.unlink()
    return drawings


def _draw(out: Path, one: Ablation, part: Part) -> Drawing:
    symbol = SYMBOLS[one.axis]
    ending = f".protocol-{part.number}" if part.number > 1 else ""
    same = comparable(one.table, part)
    looks = style.Looks([MODEL])
    figure = Figure(figsize=(8.4, 6.4))
    figure.suptitle(style.literal(f"{part.dataset}: scores by {symbol}"), fontsize=style.TITLE)
    for axes, (names, theirs) in zip(figure.subplots(2, 2, gridspec_kw=_GRID).flat, PANELS, strict=True):
        values = [value for value in reported().of(one.table) if value.score == theirs]
        _panel(axes, one, part, names, values, same=same, colour=looks.colour(MODEL))
    how = "mean, 95 % t interval, seeds as dots" if len(one.seeds) > 1 else "one training seed"
    handles = [
        Line2D([], [], color=looks.colour(MODEL), marker="o", label=f"measured: {how}"),
        Line2D([], [], color=_PAPER, marker="D", markersize=4, linestyle="--", label=_of_paper(same)),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=1)
    path = style.save(figure, out / FOLDER / f"score-by-{symbol}{ending}.png")
    return Drawing(path, f"Scores by {symbol}", _caption(one, part, same))


def _of_paper(same: bool) -> str:
    if same:
        return "reported (CIFAR-10, same features)"
    return "reported, on the right-hand axis: CIFAR-10, Inception features: shapes compare, numbers do not"


def _panel(
    axes: Axes, one: Ablation, part: Part, names: tuple[str, ...], values: list[Value], *, same: bool, colour: str
) -> None:
    metric = example(part, names)
    if metric is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"no {names[-1]} measured", ha="center", color=style.FAINT, transform=axes.transAxes)
        return
    lines = sorted(part.lines, key=lambda line: _place(one, line))
    _measured(axes, one, lines, metric["name"], colour)
    axes.set_xlabel(SYMBOLS[one.axis])
    axes.set_ylabel(style.literal(metric["label"]))
    axes.set_title(style.direction(metric))
    if values:
        right = axes if same else axes.twinx()
        right.plot(
            [getattr(value, one.axis) for value in values],
            [float(value.value) for value in values],
            **{"color": _PAPER, "linestyle": "--", "marker": "D", "markersize": 3.5, "linewidth": 1.1, "zorder": 2},
        )
        if right is not axes:
            right.grid(visible=False)
            right.spines["right"].set_visible(True)
            right.set_ylabel(f"reported {values[0].score}", color=_PAPER)
            right.tick_params(axis="y", colors=_PAPER)
    for line in part.lines:
        if not line.row.finished:
            axes.text(
                _place(one, line),
                0.03,
                style.literal(line.outcome),
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=style.SMALL,
                color=style.FAINT,
                transform=axes.get_xaxis_transform(),
            )
    theirs = [float(getattr(value, one.axis)) for value in reported().of(one.table)]
    _scale(axes, [_place(one, line) for line in part.lines], theirs)


def _measured(axes: Axes, one: Ablation, lines: list[Line], name: str, colour: str) -> None:
    found = [(_place(one, line), line, summary) for line in lines if (summary := line.row.score(name))]
    beside = axes.transData + ScaledTranslation(6 / 72, 0, axes.figure.dpi_scale_trans)  # points, to the right
    axes.errorbar(
        [place for place, *_ in found],
        [summary.mean for *_, summary in found],
        [summary.half or 0.0 for *_, summary in found],
        color=colour,
        marker="o",
        markersize=5,
        capsize=3,
        linewidth=1.3,
        zorder=4,
    )
    for place, line, _ in found:
        for record in line.row.finished if len(line.row.finished) > 1 else ():
            value = score(record, name)
            if value is not None:
                axes.plot(place, value, ".", color=colour, markersize=5, alpha=0.5, zorder=3, transform=beside)


def _place(one: Ablation, line: Line) -> float:
    assert line.point is not None
    return line.point.settings[one.axis]


def _scale(axes: Axes, own: list[float], theirs: list[float]) -> None:
    """The axis of K, sigma or n_f, with a tick at every point measured."""
    places = sorted({*own, *theirs})
    if places[-1] / places[0] > _FAR:
        axes.set_xscale("log")
        axes.set_xlim(places[0] / 1.15, places[-1] * 1.15)
    else:
        margin = 0.06 * (places[-1] - places[0])
        axes.set_xlim(places[0] - margin, places[-1] + margin)
    ticks: list[float] = []
    for place in sorted({*own}) + places:  # ours first; theirs where there is room
        if all(abs(place / tick - 1) > 0.12 for tick in ticks):
            ticks.append(place)
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _caption(one: Ablation, part: Part, same: bool) -> str:
    symbol = SYMBOLS[one.axis]
    fixed = ", ".join(f"{SYMBOLS[name]} = {value:g}" for name, value in one.fixed().items() if name != one.axis)
    text = f"{part.dataset}: scores against {symbol}" + (f" at {fixed}" if fixed else "")
    if len(one.seeds) > 1:
        text += f"; error bars are 95 % t intervals of the mean over up to {len(one.seeds)} training seeds."
    else:
        text += "; of a single training seed, so that nothing is known of how it varies between seeds."
    if one.axis == "steps":
        text += " Each K has its own sigma, as in the paper: table 2 lists both."
    missing = [f"{symbol} = {_place(one, x):g}: {x.status}" for x in part.lines if len(x.row.finished) < x.planned]
    if missing:
        text += f" Incomplete: {'; '.join(missing)}."
    dashed = " Dashed: the paper's numbers on CIFAR-10"
    return text + (f"{dashed}." if same else f"{dashed}, of other images and features, on an axis of their own.")
