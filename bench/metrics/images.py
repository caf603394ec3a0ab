"""Measures of images themselves: reconstruction error, and the smoothness of paths between images."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import NotFiniteError


def reconstruction_mse(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared error per pixel and channel of each image: (n, C, H, W) twice, float in [-1, 1] -> (n,).

    Range [0, 4]; in the range [0, 1] it would be a quarter as large.
    Raises ValueError: shapes that differ, values that are not finite.
    """
    if images.shape != reconstructions.shape or images.ndim != 4:
        raise ValueError(
            f"images {tuple(images.shape)} and reconstructions {tuple(reconstructions.shape)} must be of one shape, "
            "(n, C, H, W)"
        )
    errors = (images - reconstructions).square().flatten(1).mean(1)
    if not torch.isfinite(errors).all():
        first = int((~torch.isfinite(errors)).nonzero()[0])
        raise NotFiniteError(f"reconstruction {first} or its image holds values that are not finite")
    return errors


def smoothness(paths: Tensor) -> dict[str, float | int | None]:
    """How straight and how even paths of decoded images are: (pairs, points, C, H, W), points >= 2, float in [-1, 1].

    With the steps' lengths s_k = |x_{k+1} - x_k| (Euclidean, over all pixels and channels), for each path:
    - "length ratio": sum of s_k / |x_last - x_first|, in [1, inf); 1 is a straight line;
    - "largest step": max s_k / mean s_k, in [1, points - 1]; 1 is an even pace, points - 1 one jump.
    Each is the mean over pairs, with "... sd" its standard deviation (None for fewer than two pairs).
    Paths whose endpoints are equal have no ratio: they are left out of both and counted in "degenerate pairs";
    if all are, the values are None. "pairs" and "points" are the counts given. A path made by linear interpolation
    of pixels scores a perfect 1: the numbers compare models along the same kind of path, they do not rank realism.
    Raises ValueError: a wrong shape, values that are not finite.
    """
    if paths.ndim != 5 or len(paths) < 1 or paths.shape[1] < 2:
        raise ValueError(
            f"paths are {tuple(paths.shape)}: they must be (pairs, points, C, H, W) with two points or more"
        )
    if not torch.isfinite(paths).all():
        raise NotFiniteError("paths hold values that are not finite")
    x = paths.flatten(2).double()
    steps = (x[:, 1:] - x[:, :-1]).norm(dim=2)  # (pairs, points - 1)
    ends = (x[:, -1] - x[:, 0]).norm(dim=1)
    proper = ends > 0
    steps, ends = steps[proper], ends[proper]
    return {
        **_summary("length ratio", steps.sum(1) / ends),
        **_summary("largest step", steps.amax(1) / steps.mean(1)),
        "pairs": paths.shape[0],
        "points": paths.shape[1],
        "degenerate pairs": int((~proper).sum()),
    }


def _summary(name: str, values: Tensor) -> dict[str, float | None]:
    return {
        name: float(values.mean()) if len(values) else None,
        f"{name} sd": float(values.std()) if len(values) > 1 else None,
    }
