"""Numbers as text: as many digits as the spread supports, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from bench.report.content.sections import Summary

NONE = "–"  # what a table shows where there is no number


def number(value: float | None, digits: int = 4) -> str:
    """An integer in full, another number with `digits` significant digits; thousands are set apart by commas."""
    if value is None:
        return NONE
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    exponent = floor(log10(abs(value)))
    if exponent < -4:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def plus_minus(summary: Summary | None) -> str:
    """`mean ± half the width of its interval`, two digits of which decide the decimals; one value stands alone."""
    if summary is None or summary.half is None:
        return number(summary.mean if summary else None)
    mean, half = summary.mean, summary.half
    if half <= 1e-12 * abs(mean):  # equal values but for rounding
        return f"{number(mean)} ± 0"
    decimals = 1 - floor(log10(half))
    if decimals > 6 and abs(mean) < 1e-3:
        return f"{mean:.2e} ± {half:.1e}"
    finest = 5 - floor(log10(abs(mean))) if mean else decimals  # six significant digits of the mean are enough
    if decimals > finest:
        return f"{mean:,.{max(0, finest)}f} ± {half:.1g}"
    decimals = max(0, decimals)
    return f"{mean:,.{decimals}f} ± {half:,.{decimals}f}"


def bracketed(value: float, interval: Sequence[float] | None) -> str:
    """`value [low, high]`, two digits of half the interval's width deciding the decimals; without one the value."""
    half = (interval[1] - interval[0]) / 2 if interval else 0.0
    if not interval or half == 0:
        return number(value)
    decimals = 1 - floor(log10(half))
    if decimals > 6 and abs(value) < 1e-3:
        return f"{value:.2e} [{interval[0]:.2e}, {interval[1]:.2e}]"
    finest = 5 - floor(log10(abs(value))) if value else decimals
    decimals = max(0, min(decimals, finest))
    return f"{value:,.{decimals}f} [{interval[0]:,.{decimals}f}, {interval[1]:,.{decimals}f}]"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in whole per cent."""
    return NONE if share is None else f"{100 * share:.0f} %"


def count(n: int, noun: str) -> str:
    """`1 image`, `1,000 images`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
