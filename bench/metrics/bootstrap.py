"""Intervals of scores over the generated images, from what each image adds to a score: 95 %, and within its range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.special import ndtr, ndtri, stdtrit
from torch import Tensor

from bench.metrics.base import Measurement, numpy_seed

RESAMPLES = 1000
INTERVAL_OF = f"bootstrap, {RESAMPLES} resamples"
OF_SHARES = "Wilson's score interval"
OF_SPLITS = "t interval over splits"
_LEVEL = 0.975  # both ends together leave out 5 %
_ROUNDING = 1e-9  # relative width below which images that do not differ are told from ones that hardly do
_CHUNK = 2**22  # weights at once: 32 MB


def intervals(scores: Sequence[Measurement], *, seed: int) -> list[tuple[float, float] | None]:
    """95 % intervals (low, high) of scores of one set of generated images; None where nothing tells of an interval.

    They say how far the score moves when the same model makes as many images anew, with the real images held fixed, and
    nothing of other training seeds. Three ways, by what a `Measurement` has:
    - `splits`: Student's interval of the mean of that many scores of disjoint splits, whose deviation is `spread`.
    - `share`: Wilson's score interval (Wilson 1927) of a share of as many independent images as give the variance
      that `influence` has; it stays within [0, 1], and is no point at either end.
    - `influence` alone: percentiles over 1,000 resamples of the images, drawn with replacement, of the score to first
      order, value plus mean influence (Efron and Tibshirani 1993, chapter 13), at the levels that give means of few
      normal numbers their t interval (Hesterberg 2015, section 4.3). Where the score has `noise` of its own (random
      subsets, a fit), both sides are widened by it, as independent.
    Resamples scored outright would take hours and, since they hold images twice, bias Frechet and kernel distances
    upward. Ends beyond `Measurement.within` are moved to its bounds.
    """
    known = [None if score.influence is None or score.splits else score.influence() for score in scores]
    plain = [each for score, each in zip(scores, known, strict=True) if each is not None and not score.share]
    means = iter(_resampled_means(torch.stack(plain, dim=1), seed) if plain else ())
    return [_interval(score, each, means) for score, each in zip(scores, known, strict=True)]


def interval_of(score: Measurement) -> str:
    """What an interval of `intervals` is made of, in words; "" where there is none."""
    if score.splits:
        return OF_SPLITS
    if score.influence is None:
        return ""
    return OF_SHARES if score.share else INTERVAL_OF


def _interval(score: Measurement, influence: Tensor | None, means: Iterator[np.ndarray]) -> tuple[float, float] | None:
    if score.splits:
        assert score.spread is not None
        half = float(stdtrit(score.splits - 1, _LEVEL)) * score.spread / math.sqrt(score.splits - 1)
        return _within(score, score.value - half, score.value + half)
    if influence is None:
        return None
    if score.share:
        return _within(score, *_wilson(score.value, influence))
    return _within(score, *_expanded(score, len(influence), next(means)))


def _within(score: Measurement, low: float, high: float) -> tuple[float, float]:
    """No wider than the range, around the value at least, and a point where only rounding parts the ends."""
    value, (least, most) = score.value, score.within
    if high - low <= _ROUNDING * abs(value):
        return value, value
    return min(value, max(low, least)), max(value, min(high, most))


def _expanded(score: Measurement, n: int, means: np.ndarray) -> tuple[float, float]:
    level = float(ndtr(-stdtrit(n - 1, _LEVEL) * math.sqrt(n / (n - 1))))
    low, high = np.quantile(means, [level, 1 - level])
    noise = float(ndtri(_LEVEL)) * score.noise
    return score.value - math.hypot(low, noise), score.value + math.hypot(high, noise)


def _wilson(share: float, influence: Tensor) -> tuple[float, float]:
    """The interval of a share of n images or, where its variance is not theirs, of as many as would have it."""
    n = len(influence)
    variance = float(influence.square().mean()) / n
    if variance > 0 and 0 < share < 1:
        n = share * (1 - share) / variance
    z = float(ndtri(_LEVEL))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _resampled_means(influence: Tensor, seed: int) -> np.ndarray:
    """Influences (n, scores) -> their means over each resample, (scores, resamples)."""
    n = len(influence)
    rng = np.random.default_rng([numpy_seed(seed), n])
    rows = max(1, _CHUNK // n)
    means = []
    for start in range(0, RESAMPLES, rows):
        drawn = rng.integers(n, size=(min(rows, RESAMPLES - start), n))
        offset = drawn + n * np.arange(len(drawn))[:, None]
        counts = np.bincount(offset.ravel(), minlength=n * len(drawn)).reshape(len(drawn), n)
        means.append(torch.from_numpy(counts).double() @ influence / n)
    return torch.cat(means).T.numpy()
