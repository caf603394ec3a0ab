"""The figures that a paper run has beside those of its results folder: OUT/figures/. No torch.

Scores against K, sigma and n_f with the paper's own numbers, and the toy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import bench.report.plots  # noqa: F401 - before matplotlib, which it imports under any MPLBACKEND

# isort: split
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.paper import toy
from bench.paper.captions import comparable
from bench.paper.measured import example, planned
from bench.paper.plan import FIGURES, MODEL, SYMBOLS, Ablation
from bench.paper.reported import reported
from bench.report.content.sections import Section
from bench.report.page.page import Chapter
from bench.report.plots import curves, style

PANELS = ((("FID", "FD"), "FID"), (("KID",), None), (("IS",), "IS"), (("gradient norm",), "gradient norm"))
_FAR = 4  # an axis with a larger ratio of its ends is logarithmic


def write(out: Path, ablations: Iterable[tuple[Ablation, Sequence[Section]]]) -> list[Chapter]:
    """Draw every figure that the records allow, and remove those of protocols that are gone.

    The same records give the same bytes. Raises UserError for damaged files of the toy.
    """
    with style.style():
        chapters = [
            _scores(out, one, part)
            for one, parts in ablations
            for part in parts
            if any(row.finished for row in part.rows)
        ]
    drawn = {path for chapter in chapters for path in chapter.pictures}
    for path in (out / FIGURES).glob("score-by-*.png"):
        if path not in drawn:
            path.unlink()
    return chapters + toy.draw(out)


def _scores(out: Path, one: Ablation, part: Section) -> Chapter:
    """Scores by K, sigma or n_f: the mean over training seeds with its interval, and the paper's curve, dashed."""
    same, looks = comparable(one.table, part), style.Looks([MODEL])
    places = [point.settings[one.axis] for point in one.points]
    theirs = "same features" if same else "Inception features, on the right-hand axis: shapes compare, numbers do not"
    handles = [
        Line2D([], [], color=looks.colour(MODEL), marker=looks.marker(MODEL), label="measured"),
        Line2D([], [], color=style.FAINT, marker="D", linestyle="--", label=f"reported (CIFAR-10, {theirs})"),
    ]
    title = f"{part.dataset}: scores by {one.symbol}"
    figure, panels = style.panels(title, 4, 2, (4.2, 3.0), handles, right=0.75)
    for axes, (names, reported_score) in zip(panels, PANELS, strict=True):
        if (metric := example(part, names)) is None:
            axes.set_axis_off()
            axes.text(0.5, 0.5, f"no {names[-1]} measured", ha="center", color=style.FAINT, transform=axes.transAxes)
            continue
        scores = [(x, row.score(metric["name"])) for x, row in zip(places, part.rows, strict=True)]
        line = curves.MeanLine.of(MODEL, [(x, summary) for x, summary in scores if summary])
        labels = {"x_label": one.symbol, "y_label": metric["label"], "log_x": max(places) > _FAR * min(places)}
        curves.fill(axes, [line], labels, looks)
        axes.set_title(style.direction(metric))
        _reported(axes, one, reported_score, same=same)
    ending = f".protocol-{part.number}" if part.number > 1 else ""
    path = style.save(figure, out / FIGURES / f"score-by-{one.symbol}{ending}.png")
    return Chapter(f"Scores by {one.symbol}", _caption(one, part, same), pictures=(path,))


def _reported(axes: Axes, one: Ablation, score: str | None, *, same: bool) -> None:
    """Draw the paper's numbers, on an axis of their own if they cannot be compared."""
    values = [value for value in reported().of(one.table) if value.score == score]
    if not values:
        return
    right = axes if same else axes.twinx()
    places = [value.place(one.axis) for value in values]
    look = {"color": style.FAINT, "linestyle": "--", "marker": "D", "markersize": 3.5, "linewidth": 1.1, "zorder": 2}
    right.plot(places, [float(value.value) for value in values], **look)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.9 * min(places)), max(high, 1.1 * max(places)))
    if not same:
        right.grid(visible=False)
        right.spines["right"].set_visible(True)
        right.set_ylabel(f"reported {score}", color=style.FAINT)


def _caption(one: Ablation, part: Section, same: bool) -> str:
    fixed = ", ".join(f"{SYMBOLS[name]} = {value:g}" for name, value in one.fixed().items() if name != one.axis)
    text = f"{part.dataset}: scores against {one.symbol}" + (f" at {fixed}" if fixed else "")
    if len(one.seeds) > 1:
        text += f"; means over up to {len(one.seeds)} training seeds with their 95 % t intervals."
    else:
        text += "; of a single training seed, so that nothing is known of how it varies between seeds."
    if one.axis == "steps":
        text += " Each K has its own sigma, as in the paper: table 2 lists both."
    missing = [
        f"{one.symbol} = {point.settings[one.axis]:g}: {row.status}"
        for point, row in zip(one.points, part.rows, strict=True)
        if len(row.finished) < planned(row)
    ]
    if missing:
        text += f" Incomplete: {'; '.join(missing)}."
    dashed = " Dashed: the paper's numbers on CIFAR-10"
    return text + (f"{dashed}." if same else f"{dashed}, of other images and features, on an axis of their own.")
