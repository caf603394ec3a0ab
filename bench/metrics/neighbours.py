"""Distances between features: one bounded block of all pairs at a time, and what the metrics count in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bench.metrics import products
from bench.metrics.base import FeatureSets

K = 5  # neighbours that span an image's ball
_BLOCK = 2**23  # distances at once: 64 MB


@dataclass(frozen=True)
class Neighbours:
    """What one pass over all pairs of images counts. An image's ball reaches to the 5th neighbour in its own set."""

    real_balls: Tensor  # (n_generated,) closed balls of real images that hold the generated one
    open_real_balls: Tensor  # (n_generated,) the same without their boundaries
    generated_balls: Tensor  # (n_real,) closed balls of generated images that hold the real one
    generated_inside: Tensor  # (n_real,) generated images in the open ball of the real one
    generated_balls_only: Tensor  # (n_generated,) real images that lie in this one's ball and in no other
    generated_inside_only: Tensor  # (n_generated,) real images in whose ball this one lies, and no other
    to_real: Tensor  # (n_generated,) float64, distance to the nearest real image


def neighbours(sets: FeatureSets) -> Neighbours:
    """The counts of `sets`, computed at the first call."""
    return sets.once("neighbours", lambda: _neighbours(sets))


def nearest(points: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The index of each point's nearest reference, and its distance: (n, width), (m, width) -> (n,) and (n,).

    The distance is Euclidean, of the differences in float64, so that equal features have exactly 0. Of references that
    are equally near up to float32 rounding, any may be named. Memory is bounded for any n and m.
    Raises ValueError: an empty set, widths that differ, values that are not finite.
    """
    if points.ndim != 2 or references.ndim != 2 or not len(points) or not len(references):
        raise ValueError(f"points {tuple(points.shape)} and references {tuple(references.shape)} must be (n, width)")
    if points.shape[1] != references.shape[1]:
        raise ValueError(f"points are {points.shape[1]} wide, references {references.shape[1]}")
    if not (torch.isfinite(points).all() and torch.isfinite(references).all()):
        raise ValueError("features are not all finite")
    index = torch.empty(len(points), dtype=torch.long)
    for start, block in squared_distances(points, references):
        index[start : start + len(block)] = block.argmin(1)
    return index, _distances(points, references, index)


def _radii(x: Tensor, dots: Tensor | None) -> Tensor:
    """Squared distance of each image to its K-th neighbour in its own set, itself not counted: (n, width) -> (n,)."""
    if len(x) <= K:
        raise ValueError(f"{len(x)} images have no {K}-th neighbour")
    result = torch.empty(len(x), dtype=torch.float64)  # filled in place: small pieces kept between the large blocks
    for start, block in _balls(x, x, dots):  # would each hold the memory of a block that was freed
        result[start : start + len(block)] = block.topk(K + 1, largest=False).values[:, -1]
    return result


def _neighbours(sets: FeatureSets) -> Neighbours:
    x, y = sets.generated.features, sets.real.features
    dots = products.between(sets)
    dtype = torch.float64 if dots is not None else torch.float32
    of_real = sets.once("radii", lambda: _radii(y, products.of_real(sets)), real_alone=True).to(dtype)
    of_generated = _radii(x, products.of_generated(sets)).to(dtype)
    closed, opened, index = torch.empty(3, len(x), dtype=torch.long)
    held, inside = (torch.zeros(2, len(y), dtype=torch.float64) for _ in range(2))
    for start, block in _balls(x, y, dots):
        rows = slice(start, start + len(block))
        index[rows] = block.argmin(1)
        closed[rows] = (block <= of_real).sum(1)
        within = (block < of_real).float()
        opened[rows] = within.sum(1).long()
        # Two sums in one product: how many rows hold a column, and the sum of their numbers, which names a single one.
        number = torch.stack([torch.ones(len(block)), torch.arange(start, start + len(block)).float()])
        inside += (number @ within).double()
        held += (number @ (block <= of_generated[rows, None]).float()).double()
    return Neighbours(
        closed,
        opened,
        held[0].long(),
        inside[0].long(),
        _alone(held, len(x)),
        _alone(inside, len(x)),
        _distances(x, y, index),
    )


def recall_without_each(sets: FeatureSets) -> Tensor:
    """The number of real images in the generated images' balls, without each generated one in turn: (n_generated,).

    Without an image its own ball is gone, and the balls of those that had it among their 5 neighbours reach to the 6th.
    """
    x, y = sets.generated.features, sets.real.features
    n, between = len(x), products.between(sets)
    near, radii, wider = _neighbourhoods(x, products.of_generated(sets))
    change, inside = torch.zeros(n, dtype=torch.long), 0
    for _, block in _balls(y, x, None if between is None else between.T):  # real images in rows
        radii, wider = radii.to(block.dtype), wider.to(block.dtype)
        within = block <= radii
        count = within.sum(1)
        inside += int((count > 0).sum())
        owner = torch.where(count == 1, within.byte().argmax(1), -1)  # without it, this real image is lost ...
        change -= torch.bincount(owner[owner >= 0], minlength=n)
        row, ball = ((block <= wider) & ~within & (count <= 1)[:, None]).nonzero(as_tuple=True)
        row, image = (keys := (row[:, None] * n + near[ball]).unique()) // n, keys % n
        # ... unless a ball that grows without it reaches there; so it may where no ball did
        change += torch.bincount(image[(owner[row] == image) | (count[row] == 0)], minlength=n)
    return inside + change


def _neighbourhoods(x: Tensor, dots: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Each image's 5 nearest others, (n, 5), and squared distances to the 5th and the 6th, infinite if missing."""
    near, radii, wider = torch.empty(len(x), K, dtype=torch.long), *torch.full((2, len(x)), torch.inf).double()
    for start, block in _balls(x, x, dots):
        rows = torch.arange(start, start + len(block))
        block = block.clone()
        block[rows - start, rows] = -1.0  # the image itself comes first, equal ones after it
        found = block.topk(min(K + 2, len(x)), largest=False)
        near[rows] = found.indices[:, 1 : K + 1]
        radii[rows] = found.values[:, K].double()
        if len(x) > K + 1:
            wider[rows] = found.values[:, K + 1].double()
    return near, radii, wider


def _alone(sums: Tensor, n: int) -> Tensor:
    """How often each of n numbers is the only one, from counts and sums of numbers (2, m)."""
    return torch.bincount(sums[1][sums[0] == 1].long(), minlength=n)


def _balls(x: Tensor, y: Tensor, dots: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """`squared_distances`, with what rounding leaves of the distance of equal features made 0."""
    return squared_distances(x, y, dots, same=1e-5 if dots is None else 1e-12)


def squared_distances(
    x: Tensor, y: Tensor, dots: Tensor | None = None, *, same: float = 0.0
) -> Iterator[tuple[int, Tensor]]:
    """(first row, squared distances (rows, m)) of consecutive rows of x (n, width) to all of y (m, width).

    In float64 from their products `dots` (n, m) where those are kept, else in float32. Up to `same` times the largest
    squared norm they are made 0.
    """
    if dots is None:
        centre = y.mean(0, dtype=torch.float64).float()  # smaller norms leave less rounding
        x, y = (y.float() - centre,) * 2 if x is y else (x.float() - centre, y.float() - centre)
        x_squares, y_squares = (torch.linalg.vector_norm(z, dim=1).square() for z in (x, y))
    else:
        x_squares, y_squares = (z.double().square().sum(1) for z in (x, y))
    tiny = same * float(torch.maximum(x_squares.max(), y_squares.max()))
    rows = max(1, _BLOCK // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        if dots is None:
            block = torch.addmm(y_squares, x[part], y.T, alpha=-2)
        else:
            block = torch.add(y_squares, dots[part], alpha=-2)
        block += x_squares[part, None]
        yield start, functional.threshold_(block, tiny, 0.0) if same else block


def _distances(points: Tensor, references: Tensor, index: Tensor) -> Tensor:
    parts = zip(points.split(4096), index.split(4096), strict=True)
    return torch.cat([(p.double() - references[i].double()).norm(dim=1) for p, i in parts])
