"""Frechet distance between two sets of features, each seen as one Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from bench.features import Features
from bench.metrics.base import Metric, Score


def frechet_distance(real: Features, generated: Features, *, seed: int = 0) -> Score:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features' means and covariances, in float64.

    Range [0, inf), 0 for equal sets up to rounding (which may fall just below 0); symmetric; nothing is drawn.
    Biased: its expectation falls as either set grows, and with no more images than features the covariances have no
    full rank. Heusel et al. 2017 (arXiv 1706.08500), eq. 6. With more images than features it is torch-fidelity's
    number; with fewer, an equal one that is exact at deficient rank and takes a fraction of the time.
    """
    x, y = generated.features.double(), real.features.double()  # float32 would sum the means in float32
    note = _note(min(len(x), len(y)), x.shape[1])
    if min(len(x), len(y)) <= x.shape[1]:
        return Score(_of_few(x, y), details=note)
    one, two = fid_features_to_statistics(x), fid_features_to_statistics(y)
    return Score(fid_statistics_to_metric(one, two, verbose=False)[KEY_METRIC_FID], details=note)


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


METRIC = Metric("FD", "lower", frechet_distance, "Heusel et al. 2017, arXiv 1706.08500")
