"""The files of a race, rebuilt from race.json: race.csv, race.png and table.md. No torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.contract.scores import Point
from bench.errors import UserError
from bench.racing.lanes import Lane, Race, everything, last_score
from bench.racing.reach import Between, levels, over_seeds, ratio, time_to_reach
from bench.report.content.numerals import NONE, number
from bench.report.plots import style
from bench.report.tables.markdown import render
from bench.report.tables.model import Table
from bench.storage.files import write_text

TABLE, CSV, PLOT = "table.md", "race.csv", "race.png"


def write(out: Path, race: Race, *, reach: Sequence[float] = (), base: str = "") -> None:
    """Every file; `reach` are the scores of the table (none: `levels`), `base` whom it divides by (none: the first)."""
    write_csv(out, race)
    write_text(out / TABLE, text(race, reach, base))
    plot(out, race)


def write_csv(out: Path, race: Race) -> None:
    """A row for each point; full precision."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["dataset", "contestant", "seed", "status", "updates", "planned_updates", "seconds", "score"])
    for lane in race.lanes:
        own = [race.settings["dataset"], lane.contestant, lane.seed, lane.status]
        writer.writerows([*own, p.updates, lane.planned, repr(p.seconds), repr(p.score)] for p in lane.points)
    write_text(out / CSV, content.getvalue())


def text(race: Race, reach: Sequence[float], base: str) -> str:
    """table.md: what came of each contestant, its times to the scores, and their ratios to those of `base`."""
    base = check_base(race.contestants, base)
    wanted = sorted(reach, reverse=True) or levels(point.score for point in everything(race.lanes))
    lanes = {name: race.of(name) for name in race.contestants}
    ends = Table.of_rows(
        f"{race.settings['dataset']}: {race.metric} against training seconds",
        ["contestant", "seeds", "updates", "seconds", "score at the end ↓"],
        [_end(name, own) for name, own in lanes.items()],
        notes=(
            f"Real images that are not for training score {number(race.real, 3)}.",
            "Seconds are of training alone. Contestants took turns of "
            f"{number(race.settings['slice'], 3)} s; lengths were planned for {number(race.settings['seconds'], 3)} s."
            + (f" {jobs} processes shared the contestants." if (jobs := race.settings["machine"]["jobs"]) > 1 else ""),
        ),
    )
    headers = [f"≤ {number(level, 3)}" for level in wanted]
    times = {
        name: [[time_to_reach(lane.points, level) for lane in own] for level in wanted] for name, own in lanes.items()
    }
    reached = Table.of_rows(
        "Seconds to reach a score",
        ["contestant", *headers],
        [[name, *(_seconds(each) for each in own)] for name, own in times.items()],
        notes=(
            "A score is reached at the first point at or below it; between two points it is taken for a power of time.",
            "Of several seeds: the geometric mean and its 95 % t interval. ≤: reached before the first point.",
        ),
    )
    ratios = Table.of_rows(
        f"The same, in multiples of the time of {base}",
        ["contestant", *headers],
        [[name, *_ratios(name, base, lanes, wanted)] for name in lanes if name != base],
        notes=("Above 1 is slower. Divided seed by seed. > and ≤ where one of the two has only a bound.",),
    )
    tables = [ends, *([reached] if wanted else []), *([ratios] if wanted and len(lanes) > 1 else [])]
    return "\n\n".join(render(one, 2) for one in tables) + "\n"


def check_base(contestants: Sequence[str], base: str) -> str:
    """The one that times are divided by; UserError for a name that does not race."""
    if base and base not in contestants:
        raise UserError(f"--base {base!r} does not race: choose one of {', '.join(contestants)}")
    return base or contestants[0]


def _end(name: str, lanes: Sequence[Lane]) -> list[str]:
    counts = {
        status: sum(lane.status == status for lane in lanes) for status in ("finished", "racing", "diverged", "oom")
    }
    words = {"oom": "out of memory"}
    seeds = ", ".join(f"{n} {words.get(status, status)}" for status, n in counts.items() if n)
    updates = sorted({lane.updates for lane in lanes})
    made = (
        number(updates[0])
        if len(updates) == 1
        else f"{number(updates[0])} to {number(updates[-1])}"
        if updates
        else NONE
    )
    seconds = number(sum(lane.seconds for lane in lanes) / len(lanes), 3) if lanes else NONE
    scores = [score for lane in lanes if (score := last_score(lane)) is not None]
    mean = number(sum(scores) / len(scores), 3) if scores else NONE
    spread = f" ({number(min(scores), 3)} to {number(max(scores), 3)})" if len(scores) > 1 else ""
    return [name, seeds, made, seconds, mean + spread]


def _seconds(times: Sequence[Between]) -> str:
    if not times:
        return NONE
    reached = sum(math.isfinite(one.high) for one in times)
    if reached < len(times):
        return f"{reached} of {len(times)} seeds" if reached else "not reached"
    return _shown(times)


def _ratios(name: str, base: str, lanes: dict[str, list[Lane]], wanted: Sequence[float]) -> list[str]:
    others = {lane.seed: lane for lane in lanes[base]}
    pairs = [(lane, others[lane.seed]) for lane in lanes[name] if lane.seed in others]
    rows = (
        [ratio(time_to_reach(one.points, level), time_to_reach(other.points, level)) for one, other in pairs]
        for level in wanted
    )
    return [_shown(each) if each else NONE for each in rows]


def _shown(values: Sequence[Between]) -> str:
    over = over_seeds(values)
    if over.mean is not None:
        interval = f" [{', '.join(number(end, 3) for end in over.interval)}]" if over.interval else ""
        return number(over.mean, 3) + interval
    if math.isfinite(over.bounds.high):
        return f"≤ {number(over.bounds.high, 3)}"
    return f"> {number(over.bounds.low, 3)}" if over.bounds.low > 0 else NONE


def plot(out: Path, race: Race) -> None:
    """Score against training seconds, both axes logarithmic, a line for each seed."""
    title = f"{race.settings['dataset']}: {race.metric} against training seconds (lower is better)"
    shown = {id(lane): [p for p in lane.points if p.score > 0] for lane in race.lanes}
    with style.style():
        if not any(shown.values()):
            style.message(out / PLOT, title, "there is no positive score yet")
            return
        _draw(out / PLOT, title, race, shown)


def _draw(path: Path, title: str, race: Race, shown: dict[int, list[Point]]) -> None:
    looks = style.Looks(race.contestants)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    figure.suptitle(style.literal(title), fontsize=style.TITLE)
    axes = figure.subplots()
    for lane in race.lanes:
        points, colour = shown[id(lane)], looks.colour(lane.contestant)
        x, y = [p.seconds for p in points], [p.score for p in points]
        axes.plot(x, y, color=colour, marker=looks.marker(lane.contestant), markersize=4, markeredgecolor="white")
        if points and lane.status in ("diverged", "oom"):
            axes.plot(x[-1:], y[-1:], color=colour, marker="x", markersize=9, linestyle="none")
    points = [p for own in shown.values() for p in own]
    for axis, values in ((axes.xaxis, [p.seconds for p in points]), (axes.yaxis, [p.score for p in points])):
        (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
        style.logarithmic(axis, max(values) / min(values))
    handles = [
        Line2D([], [], color=looks.colour(name), marker=looks.marker(name), label=style.literal(_named(race, name)))
        for name in race.contestants
    ]
    low, high = axes.get_ylim()
    if low / 3 < race.real < high and race.real > 0:
        axes.axhline(race.real, color=style.FAINT, linestyle="--", linewidth=1.0)
        handles.append(Line2D([], [], color=style.FAINT, linestyle="--", label="real, not for training"))
    axes.set(xlabel="training seconds", ylabel=style.literal(race.metric))
    figure.legend(handles=handles, loc="outside lower center", ncols=style.columns(handles))
    style.save(figure, path)


def _named(race: Race, name: str) -> str:
    lost = [lane.status for lane in race.of(name) if lane.status in ("diverged", "oom")]
    words = {"diverged": "diverged", "oom": "out of memory"}
    counts = ", ".join(f"{lost.count(status)} {words[status]}" for status in dict.fromkeys(lost))
    return f"{name} ({counts})" if counts else name
