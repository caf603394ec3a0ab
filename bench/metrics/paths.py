"""Measures of interpolation: how straight, even and smooth paths of images are, how real their midpoints, how fast."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import NotFiniteError
from bench.metrics.neighbours import nearest


def smoothness(paths: Tensor, features: Tensor | None = None) -> dict[str, float | int | None]:
    """How straight and how even paths of decoded images are: (pairs, points, C, H, W), points >= 2, float in [-1, 1].

    With the steps' lengths s_k = |x_{k+1} - x_k| (Euclidean, over all pixels and channels), for each path:
    - "length ratio": sum of s_k / |x_last - x_first|, in [1, inf); 1 is a straight line;
    - "largest step": max s_k / mean s_k, in [1, points - 1]; 1 is an even pace, points - 1 one jump;
    - "second difference": mean |x_{k+1} - 2 x_k + x_{k-1}| / mean s_k, at least 0 (a straight line at an even pace) and
      under 2 (points - 1) / (points - 2); 2 where every step goes back on the one before. None for two points;
    - "feature length ratio", where `features` (pairs, points, width) of the same images are given: the length ratio in
      that space. Far points of a straight line in pixels need not lie on one there.
    Each is the mean over pairs, with "... sd" its standard deviation (None for fewer than two pairs).
    Paths whose endpoints are equal have no ratio: they are left out of all and counted in "degenerate pairs"; if all
    are, the values are None. "pairs" and "points" are the counts given. A path made by linear interpolation of pixels
    scores a perfect 1, 1 and 0: the numbers compare models along the same kind of path, they do not rank realism.
    Raises ValueError: a wrong shape, values that are not finite.
    """
    if paths.ndim != 5 or len(paths) < 1 or paths.shape[1] < 2:
        raise ValueError(
            f"paths are {tuple(paths.shape)}: they must be (pairs, points, C, H, W) with two points or more"
        )
    if not torch.isfinite(paths).all():
        raise NotFiniteError("paths hold values that are not finite")
    x = paths.flatten(2).double()
    steps, ends = _lengths(x)
    turns = (x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]).norm(dim=2)
    proper = ends > 0
    steps, ends, turns = steps[proper], ends[proper], turns[proper]
    result = {
        **_summary("length ratio", steps.sum(1) / ends),
        **_summary("largest step", steps.amax(1) / steps.mean(1)),
        **_summary("second difference", turns.mean(1) / steps.mean(1) if turns.shape[1] else steps[:0, 0]),
    }
    if features is not None:
        result |= _summary("feature length ratio", _feature_ratio(paths, features, proper))
    return result | {
        "pairs": paths.shape[0],
        "points": paths.shape[1],
        "degenerate pairs": int((~proper).sum()),
    }


def midpoint_realism(midpoints: Tensor, ends: Tensor, real: Tensor) -> float:
    """Mean distance of the midpoints' features to the nearest real ones, over that of the endpoints' features.

    (n, width), (m, width) and (r, width); range [0, inf): 1 where midpoints are as near to the real set as the ends
    are, above 1 where they are farther from it. Defined here.
    Raises ValueError: an empty set, widths that differ, values that are not finite, ends that are all real features
    themselves (then nothing can be compared with their distance of zero).
    """
    of_ends = float(nearest(ends, real)[1].mean())
    if of_ends == 0:
        raise ValueError("the ends of the paths are all among the real images: midpoints cannot be held against them")
    return float(nearest(midpoints, real)[1].mean()) / of_ends


def diversity(features: Tensor) -> float:
    """The mean squared distance between two different images' features: (n, width), n >= 2, -> [0, inf).

    It is twice the sum of the features' sample variances. Raises ValueError: fewer images, values that are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features are {tuple(features.shape)}: they must be (n, width) with two images or more")
    if not torch.isfinite(features).all():
        raise NotFiniteError("features of images hold values that are not finite")
    return 2 * float(features.double().var(0).sum())


def perceptual_length(features: Tensor, next_features: Tensor, step: float, spread: float) -> Tensor:
    """|f(x(t + step)) - f(x(t))|^2 / step^2 / spread of each of n paths: (n, width) twice -> (n,) float64, [0, inf).

    Karras et al. 2019 (arXiv 1812.04948), section 4.1, whose mean is the perceptual path length; here of any features
    and over `spread`, the `diversity` of the same model's images, so that no model gains by making them alike. A
    straight line in the features between independent images at an even pace has 1 in expectation; points that have
    nothing to do with each other have 1 / step^2.
    Raises ValueError: other shapes, a step or spread that is not above 0, values that are not finite.
    """
    if features.shape != next_features.shape or features.ndim != 2:
        raise ValueError(f"features are {tuple(features.shape)} and {tuple(next_features.shape)}, not (n, width) twice")
    if not (step > 0 and spread > 0):
        raise ValueError(f"a step of {step} and a spread of {spread}: both must be above 0")
    lengths = (next_features.double() - features.double()).square().sum(1) / step**2 / spread
    if not torch.isfinite(lengths).all():
        raise NotFiniteError("features of paths hold values that are not finite")
    return lengths


def _feature_ratio(paths: Tensor, features: Tensor, proper: Tensor) -> Tensor:
    if features.ndim != 3 or features.shape[:2] != paths.shape[:2]:
        raise ValueError(f"features are {tuple(features.shape)}: they must be (pairs, points, width) as the paths are")
    if not torch.isfinite(features).all():
        raise NotFiniteError("features of paths hold values that are not finite")
    steps, ends = _lengths(features.double())
    proper = proper & (ends > 0)
    return steps[proper].sum(1) / ends[proper]


def _lengths(x: Tensor) -> tuple[Tensor, Tensor]:
    """Points (pairs, points, d) -> lengths of the steps (pairs, points - 1), distance of the ends (pairs,)."""
    return (x[:, 1:] - x[:, :-1]).norm(dim=2), (x[:, -1] - x[:, 0]).norm(dim=1)


def _summary(name: str, values: Tensor) -> dict[str, float | None]:
    return {
        name: float(values.mean()) if len(values) else None,
        f"{name} sd": float(values.std()) if len(values) > 1 else None,
    }
