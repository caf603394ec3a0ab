"""Kernel distance from images that no model has seen, and by how much the training images are nearer."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.metrics import products
from bench.metrics.base import FeatureSets, Measurement, Metric
from bench.metrics.kid import polynomial_kernel

MOST = 10_000  # images of a set, the first ones, that others are compared with: more cost much and say little


def held_out_distance(sets: FeatureSets, *, seed: int = 0) -> Measurement | None:
    """KID from the held-out images: the unbiased estimate over all pairs of the kernel (x.y / width + 1)^3; no draws.

    Range as that of KID. A model that hands out its training images has a KID near 0, and a worse one here. None
    without held-out images, and where the generated images are held-out ones.
    The kernel: Binkowski et al. 2018 (arXiv 1801.01401), eq. 4.
    """
    if sets.unseen is None:
        return None
    own, (within, across) = _means_within(sets.generated.features.double()), _held_out(sets, sets.unseen.features)
    influence = 2 * (own - across)
    return Measurement(
        float(own.mean() + within - 2 * across.mean()),
        details={"note": f"against {len(sets.unseen):,} held-out images"},
        influence=lambda: influence - influence.mean(),
    )


def memorization_gap(sets: FeatureSets, *, seed: int = 0) -> Measurement | None:
    """KID from the held-out images less KID from the training images, both over all pairs: 0 in expectation for a
    model that knows no more of the training images than of their distribution, above 0 for one that repeats them.

    Range: any number. What the generated images have to do with each other falls out, so that the value is a mean over
    them; the interval holds both real sets fixed, whose own draw moves the value of every model alike. None as above.
    A difference of train and test distance, as Jiralerspong et al. 2023 (arXiv 2302.04440) take of other distances.
    """
    if sets.unseen is None:
        return None
    within_held_out, to_held_out = _held_out(sets, sets.unseen.features)
    real = sets.real.features[:MOST].double()
    within_real = sets.once("kernel within", lambda: float(_means_within(real).mean()), real_alone=True)
    to_real = _means_across(sets.generated.features.double(), real)
    gaps = within_held_out - within_real + 2 * (to_real - to_held_out)
    return Measurement(
        float(gaps.mean()),
        details={"note": "0: training images are no nearer than held-out ones; above 0: memorization"},
        influence=lambda: gaps - gaps.mean(),
    )


def _held_out(sets: FeatureSets, held_out: Tensor) -> tuple[float, Tensor]:
    """The mean kernel among the held-out images, and that of each generated image with them."""
    y = held_out[:MOST].double()
    within = sets.once("kernel within held-out", lambda: float(_means_within(y).mean()), real_alone=True)
    x = sets.generated.features.double()
    return within, sets.once("kernel to held-out", lambda: _means_across(x, y))


def _means_within(x: Tensor) -> Tensor:
    """The mean kernel of each image with the others of its set, of the first `MOST`: (n, width), n >= 2, -> (n,)."""
    first = x[:MOST]
    counts = torch.full((len(x),), len(first), dtype=torch.float64)
    sums = _means_across(x, first) * counts
    sums[: len(first)] -= polynomial_kernel(first.square().sum(1), x.shape[1])  # the image itself
    counts[: len(first)] -= 1
    return sums / counts


def _means_across(x: Tensor, y: Tensor) -> Tensor:
    """The mean kernel of each x (n, width) with all y (m, width): (n,)."""
    return torch.cat([polynomial_kernel(dots, x.shape[1]).mean(1) for _, dots in products.blocks(x, y, None)])


METRIC = Metric(
    "KID held-out",
    "lower",
    held_out_distance,
    "Binkowski et al. 2018, arXiv 1801.01401",
    table="variety",
    unbiased=True,
    of_equal=lambda real, generated: 0.0,
)
GAP = Metric(
    "KID memorization gap",
    "none",
    memorization_gap,
    "Jiralerspong et al. 2023, arXiv 2302.04440",
    table="variety",
    unbiased=True,
    of_equal=lambda real, generated: 0.0,
)
