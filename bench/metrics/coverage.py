"""Precision, recall, density and coverage: how much of one set lies near the other, in balls around each image."""

from __future__ import annotations

from torch import Tensor

from bench.metrics.base import ImageSets, Metric, Score
from bench.metrics.neighbours import K, neighbours

BALLS = f"balls reach to the {K}th neighbour"


def precision(sets: ImageSets, *, seed: int = 0) -> Score:
    """The share of generated images that lie in the ball of any real one; range [0, 1], of fidelity.

    An image's ball reaches to its 5th nearest neighbour in its own set, the boundary included. Nothing is drawn.
    Kynkaanniemi et al. 2019 (arXiv 1904.06991), eq. 1 and 2, with k = 5 where they took 3.
    """
    return _of_generated((neighbours(sets).real_balls > 0).double())


def recall(sets: ImageSets, *, seed: int = 0) -> Score:
    """The share of real images that lie in the ball of any generated one; range [0, 1], of variety.

    As `precision`, with the sets exchanged. The influence holds the balls' radii fixed.
    """
    found = neighbours(sets)
    return _of_real((found.generated_balls > 0).double(), found.generated_balls_only)


def density(sets: ImageSets, *, seed: int = 0) -> Score:
    """The mean number of real balls that hold a generated image, over k = 5; range [0, inf), about 1 for equal sets.

    Unlike precision it is not moved by one outlier with a wide ball. Boundaries are not included, as in the authors'
    code. Naeem et al. 2020 (arXiv 2002.09797), section 3.
    """
    return _of_generated(neighbours(sets).open_real_balls.double() / K)


def coverage(sets: ImageSets, *, seed: int = 0) -> Score:
    """The share of real images with a generated one in their ball; range [0, 1].

    For equal distributions and as many images it is about 1 - 2^-k, here 0.97. Boundaries are not included. Naeem et
    al. 2020 (arXiv 2002.09797), section 3.
    """
    found = neighbours(sets)
    return _of_real((found.generated_inside > 0).double(), found.generated_inside_only)


def _of_generated(values: Tensor) -> Score:
    return Score(float(values.mean()), details={"note": BALLS}, influence=lambda: values - values.mean())


def _of_real(values: Tensor, alone: Tensor) -> Score:
    """`alone`: of each generated image, the real ones that would be lost without it."""
    lost = alone.double() * (len(alone) / len(values))
    return Score(float(values.mean()), details={"note": BALLS}, influence=lambda: lost - lost.mean())


_KYNKAANNIEMI = "Kynkaanniemi et al. 2019, arXiv 1904.06991"
_NAEEM = "Naeem et al. 2020, arXiv 2002.09797"
PRECISION = Metric("precision", "higher", precision, _KYNKAANNIEMI)
RECALL = Metric("recall", "higher", recall, _KYNKAANNIEMI)
DENSITY = Metric("density", "higher", density, _NAEEM)
COVERAGE = Metric("coverage", "higher", coverage, _NAEEM)
