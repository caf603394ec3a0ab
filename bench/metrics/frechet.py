"""Frechet distance between two sets of features, each seen as one Gaussian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

from bench.metrics.base import FeatureSets, Measurement, Metric, TooFewImagesError

FEWEST = 64  # images for a distance at deficient rank; with more images than features there is no such bound
_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of features, in float64: all that a Frechet distance needs, whatever their number."""

    n: int
    mean: Tensor  # (width,)
    scatter: Tensor  # (width, width), the sum of (x - mean)(x - mean)'

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """The moments of features (n, width), n >= 1, in float64 whatever their type."""
        total = cls._of_part(features[:_ROWS])
        for part in features[_ROWS:].split(_ROWS) if len(features) > _ROWS else ():
            total = total.merged(cls._of_part(part))
        return total

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets together. Chan, Golub and LeVeque 1983."""
        n, gap = self.n + other.n, other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(gap, gap) * (self.n * other.n / n)
        return Moments(n, self.mean + gap * (other.n / n), scatter)

    @property
    def covariance(self) -> Tensor:
        """(width, width), with the divisor n - 1."""
        return self.scatter / (self.n - 1)

    @classmethod
    def _of_part(cls, x: Tensor) -> Moments:
        if x.ndim != 2 or not len(x):
            raise ValueError(f"features are {tuple(x.shape)}: they must be (n, width) with one image or more")
        x = x.double()
        mean = x.mean(0)
        x = x - mean
        return cls(len(x), mean, x.T @ x)


def frechet_of_moments(one: Moments, two: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as torch-fidelity computes it. Raises ValueError: n below 2."""
    if min(one.n, two.n) < 2:
        raise ValueError(f"moments of {min(one.n, two.n)} image have no covariance")
    first, second = ({"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (one, two))
    return fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]


def frechet_distance(sets: FeatureSets, *, seed: int = 0) -> Measurement:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features' means and covariances, in float64.

    Range [0, inf), 0 for equal sets up to rounding (which may fall just below 0); symmetric; nothing is drawn.
    Biased: its expectation falls as either set grows, and with no more images than features the covariances have no
    full rank. Heusel et al. 2017 (arXiv 1706.08500), eq. 6. With more images than features it is torch-fidelity's
    number; with fewer, an equal one that is exact at deficient rank and takes a fraction of the time.
    Raises TooFewImagesError, a UserError: fewer than 64 images and no more than features.
    """
    x, y = sets.generated.features, sets.real.features
    n, width = min(len(x), len(y)), x.shape[1]
    if n <= width and n < FEWEST:
        raise TooFewImagesError(
            f"{n} images for {width} features: a Frechet distance takes at least {FEWEST} images, or more than features"
        )
    if n <= width:
        value = _of_few(x.double(), y.double())
    else:
        of_real = sets.once("moments", lambda: Moments.of(y), real_alone=True)
        value = frechet_of_moments(Moments.of(x), of_real)
    return Measurement(
        value, details=_note(n, width), influence=lambda: frechet_influence(sets), within=(0.0, math.inf)
    )


def projected(sets: FeatureSets) -> Tensor:
    """M = X B', (n_generated, rank) float64, of the generated features X less their mean and `real_factor` B.

    tr (C1 C2)^(1/2) is the sum of the singular values of M over sqrt(n - 1).
    """

    def make() -> Tensor:
        x = sets.generated.features.double()
        return (x - x.mean(0)) @ real_factor(sets).T

    return sets.once("projected", make)


def real_factor(sets: FeatureSets) -> Tensor:
    """B (rank, width) float64 with B'B the covariance of the real features."""
    return sets.once("factor", lambda: _real_factor(sets), real_alone=True)


def frechet_influence(sets: FeatureSets) -> Tensor:
    """What each generated image adds to the distance, to first order: (n_generated,) float64 with mean 0.

    The derivative of the distance by the weight of an image x: |x|^2 - 2 x.m2 - x'T x with x taken from the mean and T
    the optimal map from the one Gaussian to the other (Knott and Smith 1984).
    """
    return sets.once("frechet influence", lambda: _influence(sets))


def _influence(sets: FeatureSets) -> Tensor:
    x, y = sets.generated.features.double(), sets.real.features
    gap = x.mean(0) - y.mean(0, dtype=torch.float64)
    x = x - x.mean(0)
    m = projected(sets) / (len(x) - 1) ** 0.5
    few = m.shape[0] < m.shape[1]
    values, vectors = torch.linalg.eigh(m @ m.T if few else m.T @ m)
    roots = values.clamp(min=0).sqrt()
    if few:
        cross = vectors.square() @ roots  # the diagonal of (m m')^(1/2)
    else:
        kept = values > 1e-12 * values[-1]
        cross = (m @ vectors[:, kept]).square() @ (1 / roots[kept])
    influence = x.square().sum(1) + 2 * x @ gap - cross * (len(x) - 1)
    return influence - influence.mean()


def _real_factor(sets: FeatureSets) -> Tensor:
    y = sets.real.features.double()
    if len(y) <= y.shape[1]:
        return (y - y.mean(0)) / (len(y) - 1) ** 0.5
    moments = sets.once("moments", lambda: Moments.of(y), real_alone=True)
    values, vectors = torch.linalg.eigh(moments.covariance)
    kept = values > 1e-14 * values[-1]
    return (vectors[:, kept] * values[kept].sqrt()).T.contiguous()


def _of_few(x: Tensor, y: Tensor) -> float:
    """The same distance through factors C1 = A'A and C2 = B'B: tr (C1 C2)^(1/2) sums the singular values of AB'."""
    a, b = _factor(x), _factor(y)
    root = torch.linalg.svdvals(a @ b.T).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * root)


def _factor(x: Tensor) -> Tensor:
    """A of at most `width` rows with A'A the covariance of x (n, width)."""
    a = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    return torch.linalg.qr(a, mode="r").R if len(x) > x.shape[1] else a


def _note(n: int, width: int) -> dict[str, str]:
    if n <= width:
        return {"note": f"{n} images for {width} features: rank-deficient and biased upward"}
    if n < 2 * width:
        return {"note": f"{n} images for {width} features: biased upward"}
    return {}


METRIC = Metric("FD", "lower", frechet_distance, "Heusel et al. 2017, arXiv 1706.08500", leads="many", swept=True)
