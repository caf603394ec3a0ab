"""Precision, recall, density and coverage: how much of one set lies near the other, in balls around each image."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from bench.metrics.base import FeatureSets, Measurement, Metric
from bench.metrics.neighbours import K, neighbours, recall_without_each

BALLS = f"balls reach to the {K}th neighbour"


def precision(sets: FeatureSets, *, seed: int = 0) -> Measurement:
    """The share of generated images that lie in the ball of any real one; range [0, 1], of fidelity.

    An image's ball reaches to its 5th nearest neighbour in its own set, the boundary included. Nothing is drawn.
    Kynkaanniemi et al. 2019 (arXiv 1904.06991), eq. 1 and 2, with k = 5 where they took 3.
    """
    return _of_generated((neighbours(sets).real_balls > 0).double(), share=True)


def recall(sets: FeatureSets, *, seed: int = 0) -> Measurement:
    """The share of real images that lie in the ball of any generated one; range [0, 1], of variety.

    As `precision`, with the sets exchanged. The variance that the interval rests on is the mean of two: the
    jackknife's, from recalls without each image, which counts twice what pairs of images do together (Efron and Stein
    1981), and that of what each image's ball alone holds at its size, which counts no change of other balls.
    """
    found = neighbours(sets)
    inside = (found.generated_balls > 0).double()
    return _of_real(inside, lambda: _recall_influence(sets, found.generated_balls_only))


def _recall_influence(sets: FeatureSets, alone: Tensor) -> Tensor:
    n, m = len(sets.generated), len(sets.real)
    without = recall_without_each(sets).double() / m
    jackknife = (n - 1) * (without.mean() - without)
    fixed = _lost(alone, m)
    both = (jackknife.square().mean() + fixed.square().mean()) / 2
    deviation = jackknife.square().mean()
    return jackknife * (both / deviation).sqrt() if deviation > 0 else fixed


def density(sets: FeatureSets, *, seed: int = 0) -> Measurement:
    """The mean number of real balls that hold a generated image, over k = 5; range [0, inf).

    For equal distributions it is 1 in expectation: a generated image is as likely as any other of n to be among the k
    nearest of a real one, k / n, and there are n real ones.
    Unlike precision it is not moved by one outlier with a wide ball. Boundaries are not included, as in the authors'
    code. Naeem et al. 2020 (arXiv 2002.09797), section 3.
    """
    return _of_generated(neighbours(sets).open_real_balls.double() / K, share=False)


def coverage(sets: FeatureSets, *, seed: int = 0) -> Measurement:
    """The share of real images with a generated one in their ball; range [0, 1].

    For equal distributions it is what `expected_coverage` says of the counts: the score's note has it. Boundaries are
    not included. Naeem et al. 2020 (arXiv 2002.09797), section 3.
    """
    found = neighbours(sets)
    inside, m = (found.generated_inside > 0).double(), len(sets.real)
    note = f"{BALLS}; {expected_coverage(m, len(sets.generated)):.3f} expected of equal distributions"
    return _of_real(inside, lambda: _lost(found.generated_inside_only, m), note)


def expected_coverage(n_real: int, n_generated: int, k: int = K) -> float:
    """The mean coverage, in [0, 1], of generated images that are drawn from the real ones' distribution.

    A real image is missed where its k nearest among all others are real: 1 - prod_{i=1..k} (n - i) / (m + n - i) with
    n real and m generated images. Naeem et al. 2020 (arXiv 2002.09797), section 3.3. Raises ValueError: k of n or more.
    """
    if not 0 < k < n_real:
        raise ValueError(f"{n_real} real images have no {k}-th neighbour")
    return 1 - math.prod((n_real - i) / (n_generated + n_real - i) for i in range(1, k + 1))


def _of_generated(values: Tensor, *, share: bool) -> Measurement:
    return Measurement(
        float(values.mean()),
        details={"note": BALLS},
        influence=lambda: values - values.mean(),
        within=(0.0, 1.0 if share else math.inf),
        share=share,
    )


def _of_real(inside: Tensor, influence: Callable[[], Tensor], note: str = BALLS) -> Measurement:
    return Measurement(float(inside.mean()), details={"note": note}, influence=influence, within=(0.0, 1.0), share=True)


def _lost(alone: Tensor, n_real: int) -> Tensor:
    """Influence from `alone`: of each generated image, the real ones that would be lost without it."""
    lost = alone.double() * (len(alone) / n_real)
    return lost - lost.mean()


_KYNKAANNIEMI = "Kynkaanniemi et al. 2019, arXiv 1904.06991"
_NAEEM = "Naeem et al. 2020, arXiv 2002.09797"
PRECISION = Metric("precision", "higher", precision, _KYNKAANNIEMI, table="variety")
RECALL = Metric("recall", "higher", recall, _KYNKAANNIEMI, table="variety")
DENSITY = Metric("density", "higher", density, _NAEEM, table="variety", of_equal=lambda real, generated: 1.0)
COVERAGE = Metric("coverage", "higher", coverage, _NAEEM, table="variety", of_equal=expected_coverage)
