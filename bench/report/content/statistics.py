"""Statistics over seeds: intervals, tests, corrections for several tests, and parts of the variance. No torch.

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
EXACT_SPLITS = 20_000  # up to this number, a permutation test looks at all splits
DRAWN_SPLITS = 9_999

Array = np.ndarray[Any, np.dtype[np.float64]]


def t_interval(values: Any, confidence: float = 0.95) -> tuple[Any, Any]:
    """(low, high) of Student's interval for the mean: mean ± t * s / sqrt(n), n - 1 degrees of freedom.

    Raises ValueError for fewer than two values, values that are not finite, or a confidence outside (0, 1).
    """
    x = _sample(values, least=2)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    n = x.shape[-1]
    half = stdtrit(n - 1, 0.5 + confidence / 2) * x.std(-1, ddof=1) / math.sqrt(n)
    return _plain(x.mean(-1) - half), _plain(x.mean(-1) + half)


def welch(a: Any, b: Any) -> Any:
    """Two-sided p-value of Welch's t-test for equal means of samples whose variances may differ.

    Source: Welch 1947, with his (Satterthwaite's) degrees of freedom. If neither sample varies, the p-value is 1 for
    equal means and 0 otherwise. Raises ValueError for fewer than two values in a sample or values that are not finite.
    """
    return _plain(_Gap.between(a, b).p)


@dataclass(frozen=True)
class Effect:
    """The difference of two means, first minus second, with its 95 % interval from Welch's degrees of freedom."""

    difference: float
    low: float
    high: float


def effect(a: Any, b: Any, confidence: float = 0.95) -> Effect:
    """How far the means of two samples differ; the interval contains 0 if `welch` gives p above 1 - confidence.

    Raises ValueError like `welch`.
    """
    gap = _Gap.between(a, b)
    half = 0.0 if gap.error == 0 else float(stdtrit(gap.freedom, 0.5 + confidence / 2) * gap.error)
    return Effect(float(gap.difference), float(gap.difference) - half, float(gap.difference) + half)


@dataclass(frozen=True)
class _Gap:
    """The difference of the means of two samples (..., n) and (..., m), its standard error and degrees of freedom."""

    difference: Array
    error: Array
    freedom: Array  # NaN if neither sample varies

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

    If the pooled values have at most 20,000 splits, all are used, otherwise 9,999 drawn ones and the one observed
    (Phipson and Smyth 2010, arXiv 1603.05766). The smallest p-value of three against three is 2/20 = 0.1. With so few
    seeds the test can never be significant at 0.05, which is why `winners` uses Welch's test.
    Raises ValueError for an empty sample or values that are not finite.
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
    tolerance = 1e-12 * max(1.0, np.abs(pooled).max())  # gaps that differ only by rounding must count as equal
    return float(np.mean(gaps >= observed - tolerance))


def holm(pvalues: Any) -> Any:
    """P-values (..., n) with Holm's correction (Holm 1979), in the order given; reject those that are at most alpha.

    The chance of any false rejection among them is then at most alpha, however the tests depend on each other.
    A list gives a list. Raises ValueError for a p-value outside [0, 1].
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
    """P-values of the other columns (..., n): Holm-corrected, and never below the p-value of the lead (...).

    This is a fixed sequence (Maurer, Hothorn and Lehmacher 1995): the lead is tested at alpha by itself, then all
    others together. None of them is rejected unless the lead is; the chance of any false rejection is at most alpha.
    Raises ValueError like `holm`.
    """
    return np.maximum(np.asarray(lead, dtype=float)[..., None], holm(np.asarray(others, dtype=float)))


@dataclass(frozen=True)
class VarianceParts:
    """The variance of a score of one training seed and one evaluation seed, divided into its parts."""

    total: float  # training + sampling
    training: float  # between training seeds
    sampling: float  # between evaluation seeds of one trained model
    share: float  # sampling / total, in [0, 1]; 0 if nothing varies
    interval: tuple[float, float]  # 95 % interval of the share, within [0, 1]; (0, 1) if nothing varies


def variance_parts(per_seed: Sequence[Sequence[float]]) -> VarianceParts:
    """The parts of the variance of scores; a row for each training seed has a value for each evaluation seed.

    One-way random effects, from the analysis of variance: sampling = the mean square within rows; training = (the mean
    square between rows - sampling) / values per row, or 0 if that is negative. The share's interval is exact for normal
    values: F, the mean square between rows over that within rows, divided by total / sampling of one mean, has the F
    distribution. Source: Searle, Casella and McCulloch 1992, "Variance Components", chapter 3.
    Raises ValueError for fewer than two rows or two values in a row, rows of unequal length, or values that are not
    finite.
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
    """95 % interval of sampling / (sampling + training), from the mean squares."""
    if within == 0:
        return (0.0, 0.0) if between else (0.0, 1.0)
    high, low = (fdtri(rows - 1, rows * (values - 1), q) for q in (0.975, 0.025))
    ends = (values / (between / within / bound + values - 1) for bound in (low, high))
    low_share, high_share = (min(1.0, float(end)) for end in ends)
    return low_share, high_share


def winner(values: Mapping[str, Sequence[float]], better: str) -> tuple[str, dict[str, float]]:
    """The row of a column with the best mean, and Welch's p-value of it against every other row.

    `values` holds each row's values over training seeds; `better` is "lower" or "higher". If means are equal, the first
    row is taken. Raises ValueError for no rows, another `better`, or fewer than two values in a row.
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
    """Which row is best beyond chance in each column of a table."""

    best: dict[str, str | None]  # column -> row; None: not tested, or not significant
    comparisons: int  # columns tested, each by one p-value
    test: str  # in words
    alpha: float
    p_values: dict[str, dict[str, float]] = field(default_factory=dict)  # column -> other row -> p-value, not corrected
    untested: dict[str, str] = field(default_factory=dict)  # column -> why it was not tested
    decisive: dict[str, float] = field(default_factory=dict)  # column -> corrected p-value of its closest rival
    effects: dict[str, dict[str, Effect]] = field(default_factory=dict)  # column -> other row -> best minus that one


def winners(
    columns: Mapping[str, tuple[str, Mapping[str, Sequence[float]]]], alpha: float = 0.05, lead: str | None = None
) -> Winners:
    """The best row of each column if it differs from every other row; the chance of any false winner is at most alpha.

    `columns` maps a column's name to (better, {row: values over training seeds}). A row is called better than every
    other only if each test against one other row supports it. This is an intersection-union test (Berger 1982,
    Technometrics 24): its p-value is the greatest of theirs and needs no correction for their number. P-values are
    two-sided because the same values choose the best row: of two equally good rows, either may be chosen.
    The column `lead`, named before any score was seen, is tested first, at alpha. The others are tested only if it has
    a winner, Holm-corrected among themselves (`lead_first`). If `lead` is None or cannot be tested, all columns are
    Holm-corrected together. A column is not tested if its `better` is "none", if it has fewer than two rows, or if any
    row has fewer than three seeds.
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
