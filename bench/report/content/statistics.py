"""Statistics over seeds: intervals, tests, their correction, and where the variance comes from. No torch.

Functions of samples take arrays (..., n) and work along the last axis: one sample gives a float, many give an array.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

FEWEST_SEEDS = 3  # below which nothing is tested
EXACT_SPLITS = 20_000  # up to so many splits a permutation test looks at all of them
DRAWN_SPLITS = 9_999

Array = np.ndarray[Any, np.dtype[np.float64]]


def t_interval(values: Any, confidence: float = 0.95) -> tuple[Any, Any]:
    """(low, high) of Student's interval for the mean: mean ± t * s / sqrt(n), n - 1 degrees of freedom.

    Raises ValueError: fewer than two values, values that are not finite, a confidence outside (0, 1).
    """
    x = _sample(values, least=2)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    n = x.shape[-1]
    half = stdtrit(n - 1, 0.5 + confidence / 2) * x.std(-1, ddof=1) / math.sqrt(n)
    return _plain(x.mean(-1) - half), _plain(x.mean(-1) + half)


def welch(a: Any, b: Any) -> Any:
    """Two-sided p-value of Welch's t-test for equal means of samples whose variances may differ.

    Welch 1947, with his (Satterthwaite's) degrees of freedom. Where neither sample varies it is 1 for equal means and
    0 for others. Raises ValueError: fewer than two values in a sample, values that are not finite.
    """
    x, y = _sample(a, least=2), _sample(b, least=2)
    of_x, of_y = x.var(-1, ddof=1) / x.shape[-1], y.var(-1, ddof=1) / y.shape[-1]
    gap, variance = np.abs(x.mean(-1) - y.mean(-1)), of_x + of_y
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = variance**2 / (of_x**2 / (x.shape[-1] - 1) + of_y**2 / (y.shape[-1] - 1))
        p = 2 * stdtr(freedom, -gap / np.sqrt(variance))
    return _plain(np.where(variance > 0, p, np.where(gap > 0, 0.0, 1.0)))


def permutation_test(a: Any, b: Any, *, seed: int = 0) -> float:
    """Two-sided p-value of the permutation test on the difference of means of two samples.

    All splits of the pooled values are looked at up to 20,000 of them, else 9,999 drawn ones and the one observed
    (Phipson and Smyth 2010, arXiv 1603.05766). The least p-value of three against three is 2/20 = 0.1: with so few
    seeds it can never be significant at 0.05, which is why `winners` takes Welch's test.
    Raises ValueError: an empty sample, values that are not finite.
    """
    x, y = _sample(a, least=1), _sample(b, least=1)
    if x.ndim > 1 or y.ndim > 1:
        raise ValueError(f"samples are of shapes {x.shape} and {y.shape}: a permutation test takes one of each")
    pooled, n = np.concatenate([x, y]), len(x)
    if math.comb(len(pooled), n) <= EXACT_SPLITS:
        chosen = np.array(list(itertools.combinations(range(len(pooled)), n)))
    else:
        draw = np.random.default_rng(seed)
        chosen = np.argsort(draw.random((DRAWN_SPLITS, len(pooled))), axis=1)[:, :n]
        chosen = np.concatenate([np.arange(n)[None], chosen])
    inside = pooled[chosen].sum(1)
    gaps = np.abs(inside / n - (pooled.sum() - inside) / len(y))
    observed = abs(x.mean() - y.mean())
    tolerance = 1e-12 * max(1.0, np.abs(pooled).max())  # equal gaps must count as equal after rounding
    return float(np.mean(gaps >= observed - tolerance))


def holm(pvalues: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given: reject where they are at most alpha. Holm 1979.

    The chance of any false rejection among all is then at most alpha, however the tests depend on each other.
    Raises ValueError: a p-value outside [0, 1].
    """
    p = np.asarray(pvalues, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values {list(pvalues)} are not all between 0 and 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


@dataclass(frozen=True)
class VarianceParts:
    """The variance of one score of one training seed and one evaluation seed, in parts."""

    total: float  # training + sampling
    training: float  # between training seeds
    sampling: float  # between evaluation seeds of one trained model
    share: float  # sampling / total, in [0, 1]; 0 where nothing varies


def variance_parts(per_seed: Sequence[Sequence[float]]) -> VarianceParts:
    """Parts of the variance of scores: a row for each training seed, in it a value for each evaluation seed.

    One-way random effects, from the analysis of variance: sampling = the mean square within rows; training = (the mean
    square between rows - sampling) / values per row, and 0 where that is negative. Searle, Casella and McCulloch 1992,
    "Variance Components", chapter 3.
    Raises ValueError: fewer than two rows or two values a row, rows of unequal length, values that are not finite.
    """
    if len({len(row) for row in per_seed}) != 1:
        raise ValueError(f"rows hold {[len(row) for row in per_seed]} values: they must be of one length")
    x = _sample(per_seed, least=2)
    rows, values = x.shape
    if rows < 2:
        raise ValueError(f"{rows} training seed: parts of the variance need two or more")
    sampling = float(x.var(1, ddof=1).mean())
    training = max(0.0, float(x.mean(1).var(ddof=1)) - sampling / values)
    total = training + sampling
    return VarianceParts(total, training, sampling, sampling / total if total else 0.0)


def winner(values: Mapping[str, Sequence[float]], better: str) -> tuple[str, dict[str, float]]:
    """The row with the best mean, and Welch's p-value of it against every other row, for one column.

    `values` holds the values over training seeds of each row; `better` is "lower" or "higher". Of equal means the
    first row is taken. Raises ValueError: no rows, another `better`, fewer than two values in a row.
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"better is {better!r}: a winner needs 'lower' or 'higher'")
    if not values:
        raise ValueError("a column without rows has no winner")
    sign = 1 if better == "lower" else -1
    best = min(values, key=lambda row: sign * float(np.mean(values[row])))
    return best, {row: welch(values[best], other) for row, other in values.items() if row != best}


@dataclass(frozen=True)
class Winners:
    """Which row of each column is best beyond chance, over a whole table."""

    best: dict[str, str | None]  # column -> row; None: not tested, or not significant
    comparisons: int  # tests in the table, for which the p-values are corrected
    test: str  # in words
    alpha: float
    p_values: dict[str, dict[str, float]] = field(default_factory=dict)  # column -> other row -> corrected p-value
    untested: dict[str, str] = field(default_factory=dict)  # column -> why it was not tested


def winners(columns: Mapping[str, tuple[str, Mapping[str, Sequence[float]]]], alpha: float = 0.05) -> Winners:
    """The best row of each column where it differs from every other row, Holm-corrected over the whole table.

    `columns` maps a column's name to (better, {row: values over training seeds}). A column is not tested where its
    `better` is "none", where it has fewer than two rows, or where any row has fewer than three seeds.
    """
    found: dict[str, tuple[str, dict[str, float]]] = {}
    untested: dict[str, str] = {}
    for name, (better, rows) in columns.items():
        reason = _not_tested(better, rows)
        if reason:
            untested[name] = reason
        else:
            found[name] = winner(rows, better)
    keys = [(name, row) for name, (_, others) in found.items() for row in others]
    corrected = dict(zip(keys, holm([found[name][1][row] for name, row in keys]), strict=True))
    p_values = {name: {row: corrected[name, row] for row in others} for name, (_, others) in found.items()}
    best: dict[str, str | None] = dict.fromkeys(columns)
    for name, (row, _) in found.items():
        if max(p_values[name].values()) <= alpha:
            best[name] = row
    return Winners(best, len(keys), "Welch's t-test, Holm-corrected", alpha, p_values, untested)


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
