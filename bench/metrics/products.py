"""Inner products of features in float64, kept while they are few: the kernel distance and the neighbours share them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.metrics.base import FeatureSets

STORED = 6_000**2  # products kept of one pair of sets: 288 MB
ROWS = 1024  # of a block


def stored(x: Tensor, y: Tensor) -> bool:
    """Whether the products of (n, width) and (m, width) are few enough to be kept."""
    return len(x) * len(y) <= STORED


def of_real(sets: FeatureSets) -> Tensor | None:
    """(n_real, n_real), or None where they are too many to keep; so the next two."""
    real = sets.real.features
    return sets.once("products", lambda: _within(real), real_alone=True) if stored(real, real) else None


def of_generated(sets: FeatureSets) -> Tensor | None:
    """(n_generated, n_generated)."""
    generated = sets.generated.features
    return sets.once("products", lambda: _within(generated)) if stored(generated, generated) else None


def between(sets: FeatureSets) -> Tensor | None:
    """(n_generated, n_real)."""
    x, y = sets.generated.features, sets.real.features
    return sets.once("products between", lambda: x.double() @ y.double().T) if stored(x, y) else None


def upper_blocks(x: Tensor, products: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """(first row, products of those rows with all from the first row on) of x (n, width) float64 with itself."""
    for start in range(0, len(x), ROWS):
        if products is None:
            yield start, x[start : start + ROWS] @ x[start:].T
        else:
            yield start, products[start : start + ROWS, start:]


def blocks(x: Tensor, y: Tensor, products: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """(first row, products of those rows with all of y) of x (n, width) and y (m, width), float64."""
    for start in range(0, len(x), ROWS):
        if products is None:
            yield start, x[start : start + ROWS] @ y.T
        else:
            yield start, products[start : start + ROWS]


def _within(x: Tensor) -> Tensor:
    x = x.double()
    result = torch.empty(len(x), len(x), dtype=torch.float64)
    for start, block in upper_blocks(x, None):  # half the work: the other half is its mirror
        result[start : start + ROWS, start:] = block
        result[start:, start : start + ROWS] = block.T
    return result
