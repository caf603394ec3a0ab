"""The look of every plot, and the one place that saves a figure."""

from __future__ import annotations

import io
import math
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.storage.files import write_bytes

DPI = 150
TITLE, LABEL, SMALL = 11, 9, 7.5  # font sizes in points
INK, FAINT = "#222222", "#777777"
# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow and black.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one more than the colours, so that a pair recurs only after 42 models
DASHES = ("-", (0, (5, 2)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))

_SHEET = Path(__file__).parent / "plots.mplstyle"
WORDS = tomllib.loads((Path(__file__).parent / "plots.toml").read_text(encoding="utf-8"))  # by stem, in order


@contextmanager
def style() -> Iterator[None]:
    """The suite's look, whatever the user's own matplotlib settings are."""
    with matplotlib.style.context(["default", _SHEET]):
        yield


class Looks:
    """A colour and a marker per model, assigned in the order in which the models appear in the results folder."""

    def __init__(self, models: Iterable[str]):
        pairs = zip(cycle(_COLOURS), cycle(_MARKERS), strict=False)
        self._looks = dict(zip(dict.fromkeys(models), pairs, strict=False))

    def colour(self, model: str) -> str:
        return self._looks[model][0]

    def marker(self, model: str) -> str:
        return self._looks[model][1]


def legend(rows: Iterable[Row], looks: Looks, linestyle: str = "none", *, marker: bool = True) -> list[Line2D]:
    """A handle per model, which also says what happened to runs that did not finish."""
    handles = []
    for row in rows:
        label = literal(f"{row.label} ({lost(row)})" if row.failed else row.label)
        shape = looks.marker(row.label) if marker else None
        handles.append(Line2D([], [], label=label, color=looks.colour(row.label), marker=shape, linestyle=linestyle))
    return handles


def lost(row: Row) -> str:
    """What happened to the cells without scores, in a few words: `1 diverged`, `1 out of memory`."""
    counts = {"diverged": len(row.diverged), "out of memory": len(row.failed) - len(row.diverged)}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def panels(
    title: str,
    n: int,
    across: int,
    size: tuple[float, float],
    handles: Sequence[Line2D] = (),
    *,
    left: float = 0.75,
    right: float = 0.15,
    above: float = 0.3,
    below: float = 0.5,
) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels in rows of `across`, below its title and above a legend of the handles.

    All lengths are inches: `size` is a panel's width and height with the margins for its own title and labels. Panels
    are placed by hand, which is quicker than matplotlib's layout and keeps them of one size, however many there are.
    """
    wide, high = size
    width = max(min(across, n) * wide, 5.0)
    heading = textwrap.wrap(title, int(width * 11))
    top = 0.24 * len(heading) + 0.16  # whole screen pixels, like the foot
    in_legend = columns(handles, round(14 * width))
    foot = 0.16 + 0.18 * math.ceil(len(handles) / in_legend) if handles else 0.06
    height = top + math.ceil(n / across) * high + foot
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1 - 0.1 / height, literal("\n".join(heading)), fontsize=TITLE, ha="center", va="top")
    if handles:
        figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.02 / height), ncols=in_legend)
    axes = []
    centred = (width - min(across, n) * wide) / 2
    for down, along in (divmod(place, across) for place in range(n)):
        corner = (along * wide + left + centred) / width, (height - top - (down + 1) * high + below) / height
        axes.append(figure.add_axes((*corner, (wide - left - right) / width, (high - above - below) / height)))
    return figure, axes


def columns(handles: Sequence[Line2D], characters: int = 110) -> int:
    """The number of columns of a legend that fit."""
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    return max(1, min(len(handles), characters // (longest + 6)))


def words(path: Path) -> tuple[str, str]:
    """Title and description of a plot; for a file with an unknown name, that name: `my_plot.png` -> `my plot`."""
    known = WORDS.get(path.stem)
    return (known["title"], known["text"]) if known else (" ".join(re.split("[-_ ]+", path.stem)).strip(), "")


def heading(section: Section, path: Path) -> str:
    """The title inside the plot: `digits: learning curves`."""
    title = words(path)[0]
    return f"{section.title}: {title[0].lower()}{title[1:]}"


def direction(metric: dict[str, Any]) -> str:
    """The direction in which a score improves, in words."""
    return "a description, not ranked" if metric["better"] == "none" else f"{metric['better']} is better"


def tick(value: float) -> str:
    """A number at an axis: short, with commas between thousands."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def limits(values: Sequence[float], ends: Sequence[float], *, log: bool) -> tuple[float, float]:
    """The ends of an axis, which the values determine: `ends` of intervals over few seeds may lie outside."""
    low, high = min(values), max(values)
    least, most = min([low, *ends]), max([high, *ends])
    if log:
        return max(low / 3, least) / 1.2, min(high * 3, most) * 1.2
    span = high - low or abs(high) or 1.0
    return max(low - span / 2, least) - 0.06 * span, min(high + span / 2, most) + 0.06 * span


def logarithmic(axis: Axis, ratio: float) -> None:
    """Set the ticks of a logarithmic axis that spans `ratio`: powers of ten, with twos and fives if there is room."""
    axis.set_major_locator(LogLocator(subs=(1.0,) if ratio > 1000 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_locator(NullLocator())


def literal(text: str) -> str:
    """Text that matplotlib draws literally: a dollar sign does not open a formula.

    Letters that the font lacks, such as Chinese ones, become their code points: [U+732B U+5199].
    """
    drawn = _drawable()
    runs = groupby(text, key=lambda letter: letter == "\n" or ord(letter) in drawn)
    shown = ("".join(run) if known else f"[{' '.join(f'U+{ord(one):04X}' for one in run)}]" for known, run in runs)
    return "".join(shown).replace("$", r"\$")


@cache
def _drawable() -> frozenset[int]:
    """The code points of the plots' font, which comes with matplotlib."""
    return frozenset(get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap())


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG atomically; its bytes depend on the figure alone, not on the clock."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, content.getvalue())
    return path


def message(path: Path, title: str, text: str) -> Path:
    """A plot that says why there is nothing to plot. It also replaces any plot from an earlier build."""
    figure = Figure(figsize=(6, 1.6))
    figure.text(0.5, 0.8, literal(title), ha="center", va="center", fontsize=TITLE, wrap=True)
    figure.text(0.5, 0.35, literal(text), ha="center", va="center", fontsize=LABEL, color=FAINT, wrap=True)
    return save(figure, path)
