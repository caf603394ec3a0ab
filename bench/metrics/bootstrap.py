"""Intervals of scores over the generated images: the bootstrap, of what each image adds to a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bench.metrics.base import Score, numpy_seed

RESAMPLES = 1000
INTERVAL_OF = f"bootstrap, {RESAMPLES} resamples"
_Z = 1.959964  # 97.5 % point of the standard normal distribution
_CHUNK = 2**22  # weights at once: 32 MB


def intervals(scores: Sequence[Score], *, seed: int) -> list[tuple[float, float] | None]:
    """95 % intervals (low, high) of scores of one set of generated images; None for a score without `influence`.

    Percentiles over 1,000 resamples, drawn with replacement from the generated images, of the score to first order:
    its value plus the mean influence of the images drawn. The real images are held fixed: it says how far the score
    moves when the same model makes as many images anew, and nothing of other training seeds. Scoring the resamples
    themselves would take hours and, since a resample holds images twice, would bias Frechet and kernel distances
    upward; the first-order form is centred on the score. Where the score has noise of its own (random subsets, a fit),
    both sides are widened by it, as independent. Efron and Tibshirani 1993, chapter 13.
    """
    known = [score.influence() for score in scores if score.influence is not None]
    if not known:
        return [None] * len(scores)
    resampled = iter(_resampled_means(torch.stack(known, dim=1), seed))
    return [None if score.influence is None else _interval(score, next(resampled)) for score in scores]


def _interval(score: Score, means: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(means, [0.025, 0.975])
    return score.value - math.hypot(low, _Z * score.noise), score.value + math.hypot(high, _Z * score.noise)


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
