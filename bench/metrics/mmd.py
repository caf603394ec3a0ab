"""Maximum mean discrepancy with a Gaussian kernel: unbiased, at home with few images, and bounded."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.metrics import products
from bench.metrics.base import FeatureSets, Measurement, Metric
from bench.metrics.neighbours import squared_distances

MEASURED = 1000  # real images at most, the first ones, whose distances give the bandwidth


def gaussian_discrepancy(sets: FeatureSets, *, seed: int = 0) -> Measurement | None:
    """Squared maximum mean discrepancy with the kernel exp(-|x - y|^2 / 2 b^2), in float64; nothing is drawn.

    The bandwidth b is the median distance between two real images' features, of the first 1,000: it is the same for
    every model that is scored against them. The unbiased estimate over all pairs: 0 in expectation for equal
    distributions, where single values fall on both sides of 0; larger is worse, 2 at most. None where the median is 0.
    Jayasumana et al. 2024 (arXiv 2401.09603), who take CLIP's features, b = 10 and a thousand times the value. The
    estimate: Gretton et al. 2012, JMLR 13, eq. 3; the median: their section 8.
    """
    x, y = sets.generated.features, sets.real.features
    width = sets.once("bandwidth", lambda: bandwidth(y), real_alone=True)
    if width == 0:
        return None
    within_real = sets.once("mmd", lambda: _means_within(y, products.of_real(sets), width).mean(), real_alone=True)
    within, across = _means_within(x, products.of_generated(sets), width), _means_across(sets, width)
    influence = 2 * (within - across)
    return Measurement(
        float(within.mean() + within_real - 2 * across.mean()),
        details={"note": f"bandwidth {width:.4g}"},
        influence=lambda: influence - influence.mean(),
    )


def bandwidth(features: Tensor) -> float:
    """The median Euclidean distance between two different images, of the first 1,000: (n, width), n >= 2, -> b >= 0."""
    x = features[:MEASURED].double()
    return float(torch.nn.functional.pdist(x).median())


def _means_within(x: Tensor, dots: Tensor | None, width: float) -> Tensor:
    """The mean kernel of each image with all others of its set: (n,) float64."""
    sums = torch.empty(len(x), dtype=torch.float64)
    for start, block in squared_distances(x, x, dots):
        rows = torch.arange(start, start + len(block))
        kernel = torch.exp(block.clamp(min=0) / (-2 * width**2))
        kernel[rows - start, rows] = 0
        sums[rows] = kernel.sum(1, dtype=torch.float64)
    return sums / (len(x) - 1)


def _means_across(sets: FeatureSets, width: float) -> Tensor:
    """The mean kernel of each generated image with the real ones: (n_generated,) float64."""
    x, y = sets.generated.features, sets.real.features
    blocks = squared_distances(x, y, products.between(sets))
    return torch.cat(
        [torch.exp(block.clamp(min=0) / (-2 * width**2)).mean(1, dtype=torch.float64) for _, block in blocks]
    )


METRIC = Metric(
    "MMD",
    "lower",
    gaussian_discrepancy,
    "Jayasumana et al. 2024, arXiv 2401.09603",
    of_equal=lambda real, generated: 0.0,
)
