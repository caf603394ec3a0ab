"""Frechet distance extrapolated to infinitely many generated images: what is left when its bias is taken away."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.metrics.base import FeatureSets, Measurement, Metric, numpy_seed
from bench.metrics.frechet import frechet_influence, projected, real_factor

SIZES = 6  # of subsets, from half of the generated set to all of it


def frechet_infinity(sets: FeatureSets, *, seed: int) -> Measurement | None:
    """The value at 1/N = 0 of a line through Frechet distances of random subsets of N generated images, in float64.

    The real set is the same in all: its own, smaller, bias remains. `spread` is the intercept's standard error from
    the residuals of the fit; equal seeds take equal subsets. Range: about [0, inf); the fit may fall below 0.
    Chong and Forsyth 2020 (arXiv 1911.07023), with 6 sizes evenly spaced in 1/N between N/2 and N, where
    the bias is close to linear in 1/N. With fewer than twice as many generated images as features it is not: then None.
    """
    n, width = sets.generated.features.shape
    if n < 2 * width or n < 2 * SIZES:
        return None
    sizes = sorted({round(1 / inverse) for inverse in np.linspace(1 / n, 2 / n, SIZES)})
    rng = np.random.default_rng(numpy_seed(seed))
    distance_without = _distances(sets)
    distances = [distance_without(torch.from_numpy(rng.permutation(n)[size:])) for size in sizes]
    value, error = _intercept(1 / np.array(sizes), np.array(distances))
    details = {"spread_of": f"standard error of the fit over {len(sizes)} sizes from {sizes[0]} to {n}"}
    return Measurement(value, error, details, influence=lambda: frechet_influence(sets), noise=error)


def _distances(sets: FeatureSets) -> Callable[[Tensor], float]:
    """A function of the images left out, at most half of them: sums over those are taken from the sums over all."""
    x, factor, m = sets.generated.features.double(), real_factor(sets), projected(sets)
    gap = x.mean(0) - sets.real.features.mean(0, dtype=torch.float64)
    x = x - x.mean(0)
    squares, products, of_real = x.square().sum(1), m.T @ m, factor.square().sum()

    def distance(left_out: Tensor) -> float:
        size = len(x) - len(left_out)
        mean = -x[left_out].sum(0) / size
        of_mean = factor @ mean
        gram = products - m[left_out].T @ m[left_out] - size * torch.outer(of_mean, of_mean)
        root = torch.linalg.eigvalsh(gram / (size - 1)).clamp(min=0).sqrt().sum()
        trace = (squares.sum() - squares[left_out].sum() - size * mean.square().sum()) / (size - 1)
        return float((gap + mean).square().sum() + trace + of_real - 2 * root)

    return distance


def _intercept(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The value at 0 of the least-squares line through points (x, y), and its standard error."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residuals = y - y.mean() - slope * centred
    variance = float(residuals @ residuals) / (len(x) - 2)
    return float(y.mean() - slope * x.mean()), math.sqrt(variance * (1 / len(x) + x.mean() ** 2 / spread))


METRIC = Metric("FD infinity", "lower", frechet_infinity, "Chong and Forsyth 2020, arXiv 1911.07023")
