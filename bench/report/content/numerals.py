"""Numbers and lists as text, with no more digits than the spread supports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import floor, log10

from bench.report.content.rows import Row, Summary

NONE = "–"  # what a table shows where there is no number


def number(value: float | None, digits: int = 4) -> str:
    """An integer in full, any other number with `digits` significant digits; commas separate thousands."""
    if value is None:
        return NONE
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    exponent = floor(log10(abs(value)))
    if exponent < -4:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def plus_minus(summary: Summary | None) -> str:
    """`mean ± half the width of its interval`, with decimals for two digits of the latter; for one value, it alone."""
    if summary is None or summary.half is None:
        return number(summary.mean if summary else None)
    mean, half = summary.mean, summary.half
    if half <= 1e-12 * abs(mean):  # equal values, up to rounding
        return f"{number(mean)} ± 0"
    decimals, finest = _decimals(mean, half)
    if decimals > 6 and abs(mean) < 1e-3:
        return f"{mean:.2e} ± {half:.1e}"
    if decimals > finest:
        return f"{mean:,.{max(0, finest)}f} ± {half:.1g}"
    return f"{mean:,.{max(0, decimals)}f} ± {half:,.{max(0, decimals)}f}"


def bracketed(value: float, interval: Sequence[float] | None) -> str:
    """`value [low, high]`, with decimals for two digits of half its width; without an interval, the value alone."""
    half = (interval[1] - interval[0]) / 2 if interval else 0.0
    if not interval or half == 0:
        return number(value)
    decimals, finest = _decimals(value, half)
    form = ".2e" if decimals > 6 and abs(value) < 1e-3 else f",.{max(0, min(decimals, finest))}f"
    return f"{value:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]"


def _decimals(value: float, half: float) -> tuple[int, int]:
    """The decimals that show two digits of the half-width, and those that show six of the value, which is enough."""
    decimals = 1 - floor(log10(half))
    return decimals, 5 - floor(log10(abs(value))) if value else decimals


def estimate(summary: Summary | None) -> str:
    """A mean over seeds as `mean ± half`, a single seed as `value [low, high]`, a dash where there is none."""
    if summary is None or summary.half is not None:
        return plus_minus(summary)
    return bracketed(summary.mean, summary.interval)


def score_text(row: Row, name: str) -> str:
    """A row's score with its interval, and its number of seeds if some finished seeds lack it."""
    summary = row.score(name)
    text = estimate(summary)
    return text if summary is None or summary.n == len(row.finished) else f"{text} (n = {summary.n})"


def budget_text(row: Row, name: str) -> str:
    """`50 decodes per image`: the budget of one model's score; a dash where it has none."""
    found = next((entry for entry in row.entries(name) if entry.get("budget") is not None), None)
    if found is None:
        return NONE
    unit = str(found.get("budget_unit") or "")
    if found["budget"] == 1:  # "1 decode per image"
        unit = unit.replace("decodes", "decode")
    return f"{number(found['budget'])} {unit}".strip()


def count(n: int, noun: str) -> str:
    """`1 image`, `1,000 images`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(values: Iterable[object]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, values))


def joined(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def once(texts: Iterable[str]) -> list[str]:
    """Each text once, in the order of first appearance, without empty ones."""
    return [text for text in dict.fromkeys(texts) if text]
