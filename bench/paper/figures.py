"""The figures that a paper run has beside those of its results folder: OUT/figures/. No torch.

Scores against K, sigma and n_f, with the paper's own numbers where they can be compared, and the toy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import bench.report.plots  # noqa: F401 - before matplotlib, which it imports under any MPLBACKEND

# isort: split
import numpy as np
from matplotlib.lines import Line2D

from bench.paper import toy
from bench.paper.captions import comparable
from bench.paper.measured import example, planned
from bench.paper.plan import FIGURES, MODEL, SYMBOLS, Ablation
from bench.paper.reported import reported
from bench.report.content.sections import Section
from bench.report.content.sentences import written
from bench.report.page.page import Chapter
from bench.report.plots import curves, style

PANELS = ((("FID", "FD"), "FID"), (("KID",), None), (("IS",), "IS"), (("gradient norm",), "gradient norm"))
_REPORTED = "reported"
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
    """Scores by K, sigma or n_f: the mean over training seeds with its interval and, dashed, comparable numbers."""
    same, looks = comparable(one.table, part), style.Looks([MODEL, _REPORTED])
    places = [point.settings[one.axis] for point in one.points]
    found = [(metric, score) for names, score in PANELS if (metric := example(part, names))]
    handles = [Line2D([], [], color=looks.colour(MODEL), marker=looks.marker(MODEL), label="measured")]
    if same:
        look = {"color": looks.colour(_REPORTED), "marker": looks.marker(_REPORTED), "linestyle": "--"}
        handles.append(Line2D([], [], label=f"{_REPORTED} ({part.dataset}, same features)", **look))
    title = f"{part.dataset}: scores by {one.symbol}"
    figure, panels = style.panels(title, len(found), 2, (4.2, 3.0), handles)
    for axes, (metric, score) in zip(panels, found, strict=True):
        own = [(x, row.score(metric["name"])) for x, row in zip(places, part.rows, strict=True)]
        lines = [curves.MeanLine.of(MODEL, [(x, summary) for x, summary in own if summary])]
        theirs = {getattr(v, one.axis): float(v.value) for v in reported().of(one.table) if same and v.score == score}
        if theirs:
            x = sorted(theirs)
            lines.append(curves.MeanLine(_REPORTED, x, np.array([*map(theirs.get, x)]), None, untrained=True))
        labels = {"x_label": one.symbol, "y_label": metric["label"], "log_x": max(places) > _FAR * min(places)}
        curves.fill(axes, lines, labels, looks)
        axes.set_title(style.direction(metric))
    ending = f".protocol-{part.number}" if part.number > 1 else ""
    path = style.save(figure, out / FIGURES / f"score-by-{one.symbol}{ending}.png")
    return Chapter(f"Scores by {one.symbol}", _caption(one, part, same), pictures=(path,))


def _caption(one: Ablation, part: Section, same: bool) -> str:
    pairs = zip(one.points, part.rows, strict=True)
    (text,) = written(
        Path(__file__).parent / "templates/figure.txt",
        dataset=part.dataset,
        symbol=one.symbol,
        fixed=[f"{SYMBOLS[name]} = {value:g}" for name, value in one.fixed().items() if name != one.axis],
        seeds=len(one.seeds),
        missing=[
            f"{one.symbol} = {point.settings[one.axis]:g}: {row.status}"
            for point, row in pairs
            if len(row.finished) < planned(row)
        ],
        same=same,
    )
    return text
