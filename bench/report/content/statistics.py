"""Statistics over seeds: intervals, tests, and corrections for several tests. No torch.

Functions of samples take arrays (..., n) and work along the last axis: one sample gives a float, many give an array.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import ttest_ind

ALPHA = 0.05
FEWEST_SEEDS = 3  # below which nothing is tested

Array = np.ndarray[Any, np.dtype[np.float64]]


def t_interval(values: Any) -> tuple[Any, Any]:
    """(low, high) of Student's 95 % interval for the mean: mean ± t * s / sqrt(n), n - 1 degrees of freedom.

    Raises ValueError for fewer than two values or values that are not finite.
    """
    x = _sample(values, least=2)
    n = x.shape[-1]
    half = stdtrit(n - 1, 0.975) * x.std(-1, ddof=1) / math.sqrt(n)
    return _plain(x.mean(-1) - half), _plain(x.mean(-1) + half)


def welch(a: Any, b: Any) -> Any:
    """Two-sided p-value of Welch's t-test for equal means of samples whose variances may differ.

    Source: Welch 1947, with his (Satterthwaite's) degrees of freedom. If neither sample varies, the p-value is 1 for
    equal means and 0 otherwise. Raises ValueError for fewer than two values in a sample or values that are not finite.
    """
    x, y = _sample(a, least=2), _sample(b, least=2)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, of samples that do not vary
        p = ttest_ind(x, y, axis=-1, equal_var=False).pvalue
    return _plain(np.where(np.isnan(p), 1.0, p))


@dataclass(frozen=True)
class Effect:
    """The difference of two means, first minus second, with its 95 % interval by Welch's degrees of freedom."""

    difference: float
    low: float
    high: float


def effect(a: Any, b: Any) -> Effect:
    """How far the means of two samples differ; the interval holds 0 where `welch` is above 0.05. Raises as `welch`."""
    x, y = _sample(a, least=2), _sample(b, least=2)
    gap = float(x.mean() - y.mean())
    if x.var() == 0 and y.var() == 0:
        return Effect(gap, gap, gap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, of a sample that hardly varies
        low, high = ttest_ind(x, y, equal_var=False).confidence_interval(1 - ALPHA)
    return Effect(gap, float(low), float(high))


def holm(pvalues: Any) -> Array:
    """P-values (..., n) with Holm's correction (Holm 1979), in the order given; reject those that are at most alpha.

    The chance of any false rejection among them is then at most alpha, however the tests depend on each other.
    Raises ValueError for a p-value outside [0, 1].
    """
    p = np.asarray(pvalues, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values {pvalues} are not all between 0 and 1")
    n = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.maximum.accumulate((n - np.arange(n)) * np.take_along_axis(p, order, -1), axis=-1)
    corrected = np.empty(p.shape)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), -1)
    return corrected


def lead_first(lead: Any, others: Any) -> Array:
    """P-values of the other columns (..., n): Holm-corrected, and never below the p-value of the lead (...).

    This is a fixed sequence (Maurer, Hothorn and Lehmacher 1995): the lead is tested at alpha by itself, then all
    others together. None of them is rejected unless the lead is; the chance of any false rejection is at most alpha.
    Raises ValueError like `holm`.
    """
    return np.maximum(np.asarray(lead, dtype=float)[..., None], holm(others))


def winner(values: Mapping[str, Sequence[float]], better: str) -> tuple[str, dict[str, float]]:
    """The row of a column with the best mean, and Welch's p-value of it against every other row.

    `values` holds each row's values over training seeds; `better` is "lower" or "higher". If means are equal, the first
    row is taken. Raises ValueError for fewer than two values in a row.
    """
    best = ordered(values, better)[0]
    return best, {row: welch(values[best], other) for row, other in values.items() if row != best}


def ordered(values: Mapping[str, Sequence[float]], better: str) -> list[str]:
    """The rows of a column, the best mean first; rows with equal means keep their order."""
    sign = 1 if better == "lower" else -1
    return sorted(values, key=lambda row: sign * float(np.mean(values[row])))


@dataclass(frozen=True)
class Winners:
    """Which row is best beyond chance in each column of a table."""

    best: dict[str, str]  # column -> row; only columns with a significant winner
    comparisons: int  # columns tested, each by one p-value
    test: str  # in words
    p_values: dict[str, dict[str, float]]  # column -> other row -> p-value of the best mean against it, not corrected
    untested: dict[str, str]  # column -> why it was not tested
    decisive: dict[str, float]  # column -> corrected p-value of its closest rival, by which its winner is named
    effects: dict[str, dict[str, Effect]]  # column -> other row -> the best mean minus that one, not corrected


def winners(columns: Mapping[str, tuple[str, Mapping[str, Sequence[float]]]], lead: str | None = None) -> Winners:
    """The best row of each column if it differs from every other row; the chance of any false winner is at most ALPHA.

    `columns` maps a column's name to (better, {row: values over training seeds}). A row is called better than every
    other only if each test against one other row supports it. This is an intersection-union test (Berger 1982,
    Technometrics 24): its p-value is the greatest of theirs and needs no correction for their number. P-values are
    two-sided because the same values choose the best row: of two equally good rows, either may be chosen.
    The column `lead`, named before any score was seen, is tested first, at ALPHA. The others are tested only if it has
    a winner, Holm-corrected among themselves (`lead_first`). If `lead` is None or cannot be tested, all columns are
    Holm-corrected together. A column is not tested if its `better` is "none", if it has fewer than two rows, or if any
    row has fewer than three seeds.
    """
    untested = {name: reason for name, column in columns.items() if (reason := _not_tested(*column))}
    found = {name: winner(rows, better) for name, (better, rows) in columns.items() if name not in untested}
    greatest = {name: max(others.values()) for name, (_, others) in found.items()}
    rest = [name for name in found if name != lead]
    if lead in found:
        corrected = lead_first(greatest[lead], [greatest[name] for name in rest])
        test = "Welch's t-test against each other model, the lead score first, then the others, Holm-corrected"
    else:
        corrected = holm([greatest[name] for name in rest])
        test = "Welch's t-test against each other model, Holm-corrected"
    decisive = greatest | dict(zip(rest, map(float, corrected), strict=True))
    best = {name: row for name, (row, _) in found.items() if decisive[name] <= ALPHA}
    p_values = {name: others for name, (_, others) in found.items()}
    effects = {
        name: {other: effect(columns[name][1][row], columns[name][1][other]) for other in others}
        for name, (row, others) in found.items()
    }
    return Winners(best, len(found), test, p_values, untested, decisive, effects)


def _not_tested(better: str, rows: Mapping[str, Sequence[float]]) -> str:
    if better == "none":
        return "not ranked"
    if len(rows) < 2:
        return "fewer than two rows"
    if any(len(values) < FEWEST_SEEDS for values in rows.values()):
        return "fewer than three seeds"
    return ""


def _sample(values: Any, *, least: int) -> Array:
    x = np.asarray(values, dtype=float)
    if x.ndim < 1 or x.shape[-1] < least:
        raise ValueError(f"{x.shape[-1] if x.ndim else 'no'} values: {least} or more are needed")
    if not np.isfinite(x).all():
        raise ValueError("values are not all finite")
    return x


def _plain(x: Any) -> Any:
    return float(x) if np.ndim(x) == 0 else x
