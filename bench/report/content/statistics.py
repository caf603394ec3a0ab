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
from scipy.special import fdtri, stdtr, stdtrit

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
    return _plain(_Gap.between(a, b).p)


@dataclass(frozen=True)
class Effect:
    """The difference of two means, first less second, with its 95 % interval by Welch's degrees of freedom."""

    difference: float
    low: float
    high: float


def effect(a: Any, b: Any, confidence: float = 0.95) -> Effect:
    """How far the means of two samples differ; the interval holds 0 where `welch` finds p above 1 - confidence.

    Raises ValueError as `welch` does.
    """
    gap = _Gap.between(a, b)
    half = 0.0 if gap.error == 0 else float(stdtrit(gap.freedom, 0.5 + confidence / 2) * gap.error)
    return Effect(float(gap.difference), float(gap.difference) - half, float(gap.difference) + half)


@dataclass(frozen=True)
class _Gap:
    """The difference of the means of two samples (..., n) and (..., m), its standard error and degrees of freedom."""

    difference: Array
    error: Array
    freedom: Array  # NaN where neither sample varies

    @classmethod
    def between(cls, a: Any, b: Any) -> _Gap:
        x, y = _sample(a, least=2), _sample(b, least=2)
        of_x, of_y = x.var(-1, ddof=1) / x.shape[-1], y.var(-1, ddof=1) / y.shape[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = (of_x + of_y) ** 2 / (of_x**2 / (x.shape[-1] - 1) + of_y**2 / (y.shape[-1] - 1))
        return cls(x.mean(-1) - y.mean(-1), np.sqrt(of_x + of_y), freedom)

    @property
    def p(self) -> Array:
        gap = np.abs(self.difference)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * stdtr(self.freedom, -gap / self.error)
        return np.where(self.error > 0, p, np.where(gap > 0, 0.0, 1.0))


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


def holm(pvalues: Any) -> Any:
    """P-values (..., n) corrected for their number, in the order given: reject where at most alpha. Holm 1979.

    The chance of any false rejection among all is then at most alpha, however the tests depend on each other.
    A list gives a list. Raises ValueError: a p-value outside [0, 1].
    """
    p = np.asarray(pvalues, dtype=float)
    if p.ndim < 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values {pvalues} are not all between 0 and 1")
    n = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.maximum.accumulate((n - np.arange(n)) * np.take_along_axis(p, order, -1), axis=-1)
    corrected = np.empty(p.shape)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), -1)
    return corrected if isinstance(pvalues, np.ndarray) else corrected.tolist()


def lead_first(lead: Any, others: Any) -> Any:
    """P-values of the other columns (..., n), corrected for following the lead's (...): never below it, Holm's beyond.

    A fixed sequence (Maurer, Hothorn and Lehmacher 1995) of the lead, at alpha by itself, and then all others
    together: none of those is rejected where the lead is not, and the chance of any false rejection is at most alpha.
    Raises ValueError as `holm` does.
    """
    return np.maximum(np.asarray(lead, dtype=float)[..., None], holm(np.asarray(others, dtype=float)))


@dataclass(frozen=True)
class VarianceParts:
    """The variance of one score of one training seed and one evaluation seed, in parts."""

    total: float  # training + sampling
    training: float  # between training seeds
    sampling: float  # between evaluation seeds of one trained model
    share: float  # sampling / total, in [0, 1]; 0 where nothing varies
    interval: tuple[float, float]  # 95 %, of the share, within [0, 1]; (0, 1) where nothing varies


def variance_parts(per_seed: Sequence[Sequence[float]]) -> VarianceParts:
    """Parts of the variance of scores: a row for each training seed, in it a value for each evaluation seed.

    One-way random effects, from the analysis of variance: sampling = the mean square within rows; training = (the mean
    square between rows - sampling) / values per row, and 0 where that is negative. The share's interval is exact for
    normal values: F = mean square between over mean square within, divided by total / sampling of one mean, has the F
    distribution. Searle, Casella and McCulloch 1992, "Variance Components", chapter 3.
    Raises ValueError: fewer than two rows or two values a row, rows of unequal length, values that are not finite.
    """
    if len({len(row) for row in per_seed}) != 1:
        raise ValueError(f"rows hold {[len(row) for row in per_seed]} values: they must be of one length")
    x = _sample(per_seed, least=2)
    rows, values = x.shape
    if rows < 2:
        raise ValueError(f"{rows} training seed: parts of the variance need two or more")
    sampling = float(x.var(1, ddof=1).mean())
    between = values * float(x.mean(1).var(ddof=1))
    training = max(0.0, (between - sampling) / values)
    total = training + sampling
    interval = _share_interval(between, sampling, rows, values)
    return VarianceParts(total, training, sampling, sampling / total if total else 0.0, interval)


def _share_interval(between: float, within: float, rows: int, values: int) -> tuple[float, float]:
    """95 % for sampling / (sampling + training), from the mean squares."""
    if within == 0:
        return (0.0, 0.0) if between else (0.0, 1.0)
    high, low = (fdtri(rows - 1, rows * (values - 1), q) for q in (0.975, 0.025))
    ends = (values / (between / within / bound + values - 1) for bound in (low, high))
    low_share, high_share = (min(1.0, float(end)) for end in ends)
    return low_share, high_share


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
    comparisons: int  # columns tested, each by one p-value
    test: str  # in words
    alpha: float
    p_values: dict[str, dict[str, float]] = field(default_factory=dict)  # column -> other row -> p, not corrected
    untested: dict[str, str] = field(default_factory=dict)  # column -> why it was not tested
    decisive: dict[str, float] = field(default_factory=dict)  # column -> corrected p, of its closest rival
    effects: dict[str, dict[str, Effect]] = field(default_factory=dict)  # column -> other row -> best less that one


def winners(
    columns: Mapping[str, tuple[str, Mapping[str, Sequence[float]]]], alpha: float = 0.05, lead: str | None = None
) -> Winners:
    """The best row of each column where it differs from every other row; the chance of any false one is at most alpha.

    `columns` maps a column's name to (better, {row: values over training seeds}). That a row is better than every
    other is claimed only where each of the tests against one other speaks for it: an intersection-union test (Berger
    1982, Technometrics 24), whose p-value is the greatest of theirs and needs no correction for their number. Two-sided
    p-values pay for the best row being picked by the same values: where two rows are equally good either may be.
    The column `lead`, named before any score was seen, is tested first, at alpha. The others follow only where it has
    a winner, Holm-corrected among themselves (`lead_first`); where `lead` is None or cannot be tested, all columns
    are Holm-corrected together. A column is not tested where its `better` is "none", where it has fewer than two
    rows, or where any row has fewer than three seeds.
    """
    found: dict[str, tuple[str, dict[str, float]]] = {}
    untested: dict[str, str] = {}
    for name, (better, rows) in columns.items():
        reason = _not_tested(better, rows)
        if reason:
            untested[name] = reason
        else:
            found[name] = winner(rows, better)
    greatest = {name: max(others.values()) for name, (_, others) in found.items()}
    rest = [name for name in found if name != lead]
    if lead in found:
        corrected = lead_first(greatest[lead], [greatest[name] for name in rest])
        test = "Welch's t-test against each other model, the lead score first, then the others, Holm-corrected"
    else:
        corrected = holm([greatest[name] for name in rest])
        test = "Welch's t-test against each other model, Holm-corrected"
    decisive = greatest | dict(zip(rest, map(float, corrected), strict=True))
    best: dict[str, str | None] = dict.fromkeys(columns)
    best |= {name: row for name, (row, _) in found.items() if decisive[name] <= alpha}
    effects = {
        name: {other: effect(columns[name][1][row], columns[name][1][other]) for other in others}
        for name, (row, others) in found.items()
    }
    p_values = {name: others for name, (_, others) in found.items()}
    return Winners(best, len(found), test, alpha, p_values, untested, decisive, effects)


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
