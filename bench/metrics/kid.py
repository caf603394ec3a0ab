"""Kernel distance between two sets of features: unbiased, so the one to read where images are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.metrics import products
from bench.metrics.base import FeatureSets, Measurement, Metric, numpy_seed

SUBSETS = 100
LARGEST_SUBSET = 1000


def kernel_distance(sets: FeatureSets, *, seed: int) -> Measurement:
    """Squared maximum mean discrepancy with the kernel (x.y / width + 1)^3, in float64.

    `value` is the mean of the unbiased estimate over 100 random subsets of each set, `spread` its deviation over them.
    Range: 0 in expectation for equal distributions, where single values fall on both sides of 0; larger is worse.
    A subset holds at most half of the smaller set: subsets that are nearly the whole set would all be the same, and
    their spread would say nothing. The subset's size does not move the expectation, only the spread.
    Binkowski et al. 2018 (arXiv 1801.01401), eq. 4. The subsets are those that torch-fidelity draws from the same seed,
    and the value is its value; but kernels are computed once for each pair of images, not once for each subset.
    """
    x, y = sets.generated.features.double(), sets.real.features.double()
    n = min(len(x), len(y))
    size = max(2, min(LARGEST_SUBSET, n // 2))
    subsets = _draw(len(x), len(y), size, seed)
    if _all_pairs_are_fewer(len(x), len(y), size):
        estimates, influence = _from_all_pairs(sets, x, y, subsets)
    else:
        estimates, influence = _from_each_subset(x, y, subsets)
    value, spread = float(estimates.mean()), float(estimates.std(correction=0))
    details = {"spread_of": f"{SUBSETS} subsets of {size}"}
    return Measurement(
        value, spread if size < n else None, details, influence=lambda: influence, noise=spread / len(estimates) ** 0.5
    )


@dataclass(frozen=True)
class _Subsets:
    of_generated: Tensor  # (subsets, size) indices
    of_real: Tensor


def _draw(n: int, m: int, size: int, seed: int) -> _Subsets:
    rng = np.random.RandomState(numpy_seed(seed))  # that torch-fidelity draws from
    pairs = [(rng.choice(n, size, replace=False), rng.choice(m, size, replace=False)) for _ in range(SUBSETS)]
    of_generated, of_real = zip(*pairs, strict=True)
    return _Subsets(torch.from_numpy(np.stack(of_generated)), torch.from_numpy(np.stack(of_real)))


def _all_pairs_are_fewer(n: int, m: int, size: int) -> bool:
    return (n * n + m * m) / 2 + n * m < 3 * SUBSETS * size * size


def _from_all_pairs(sets: FeatureSets, x: Tensor, y: Tensor, subsets: _Subsets) -> tuple[Tensor, Tensor]:
    """The estimates of all subsets, and the images' influence, from one pass over the pairs."""
    a, b = _members(subsets.of_generated, len(x)), _members(subsets.of_real, len(y))
    xx, rows = _within(x, products.of_generated(sets), a)
    yy, _ = _within(y, products.of_real(sets), b)
    xy, means = torch.zeros(a.shape[1], dtype=torch.float64), []
    for start, dots in products.blocks(x, y, products.between(sets)):
        k = polynomial_kernel(dots, x.shape[1])
        xy += (a[start : start + len(k)] * (k @ b)).sum(0)
        means.append(k.mean(1))
    size = subsets.of_real.shape[1]
    influence = 2 * (rows / (len(x) - 1) - torch.cat(means))
    return _estimate(xx, yy, xy, size), influence - influence.mean()


def _within(x: Tensor, dots: Tensor | None, members: Tensor) -> tuple[Tensor, Tensor]:
    """Kernels of pairs of different images: their sums over each subset, and over each image's partners."""
    sums = torch.zeros(members.shape[1], dtype=torch.float64)
    rows = torch.zeros(len(x), dtype=torch.float64)
    for start, block in products.upper_blocks(x, dots):
        k = polynomial_kernel(block, x.shape[1])
        stop = start + len(k)
        k[:, : len(k)].tril_()  # of the square block on the diagonal, the lower half without the diagonal
        k[:, : len(k)].fill_diagonal_(0)
        sums += 2 * (members[start:stop] * (k @ members[start:])).sum(0)
        rows[start:stop] += k.sum(1)
        rows[start:] += k.sum(0)
    return sums, rows


def _from_each_subset(x: Tensor, y: Tensor, subsets: _Subsets) -> tuple[Tensor, Tensor]:
    """The same from the pairs in each subset; images in none have no influence of their own."""
    estimates = []
    influence, drawn = torch.zeros(2, len(x), dtype=torch.float64)
    for i, j in zip(subsets.of_generated, subsets.of_real, strict=True):
        a, b, size, width = x[i], y[j], len(i), x.shape[1]
        xx, yy, xy = (
            polynomial_kernel(a @ a.T, width),
            polynomial_kernel(b @ b.T, width),
            polynomial_kernel(a @ b.T, width),
        )
        xx.fill_diagonal_(0)
        estimates.append(_estimate(xx.sum(), yy.sum() - yy.diagonal().sum(), xy.sum(), size))
        influence[i] += 2 * (xx.sum(1) / (size - 1) - xy.mean(1))
        drawn[i] += 1
    seen = drawn > 0
    influence[seen] /= drawn[seen]
    influence[seen] -= influence[seen].mean()
    return torch.stack(estimates), influence * (len(x) / seen.sum()) ** 0.5  # the variance of all, from those seen


def polynomial_kernel(dots: Tensor, width: int) -> Tensor:
    """(dots / width + 1)^3, in any shape."""
    k = dots / width + 1
    return k.square().mul_(k)


def _members(subsets: Tensor, n: int) -> Tensor:
    """(subsets, size) indices -> (n, subsets) ones and zeros."""
    return torch.zeros(n, len(subsets), dtype=torch.float64).scatter_(0, subsets.T, 1.0)


def _estimate(xx: Tensor, yy: Tensor, xy: Tensor, size: int) -> Tensor:
    return (xx + yy) / (size * (size - 1)) - 2 * xy / size**2


METRIC = Metric(
    "KID",
    "lower",
    kernel_distance,
    "Binkowski et al. 2018, arXiv 1801.01401",
    leads="few",
    swept=True,
    unbiased=True,
    of_equal=lambda real, generated: 0.0,
)
