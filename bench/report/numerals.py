"""Numbers as text: as many digits as the spread supports, and no more."""

from __future__ import annotations

from math import floor, log10

from bench.report.sections import Summary

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
    """`mean ± standard deviation`, two digits of the deviation deciding the decimals; one value stands alone."""
    if summary is None or summary.std is None:
        return number(summary.mean if summary else None)
    mean, std = summary.mean, summary.std
    if std == 0:
        return f"{number(mean)} ± 0"
    decimals = 1 - floor(log10(std))
    if decimals > 6 and abs(mean) < 1e-3:
        return f"{mean:.2e} ± {std:.1e}"
    finest = 5 - floor(log10(abs(mean))) if mean else decimals  # six significant digits of the mean are enough
    if decimals > finest:
        return f"{mean:,.{max(0, finest)}f} ± {std:.1g}"
    decimals = max(0, decimals)
    return f"{mean:,.{decimals}f} ± {std:,.{decimals}f}"


def count(n: int, noun: str) -> str:
    """`1 image`, `1,000 images`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
