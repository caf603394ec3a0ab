"""The one convention for images: float32, NCHW, in [-1, 1]; and the only way out of it and back, uint8."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.errors import NotFiniteError


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] to uint8 in [0, 255]: clamped and rounded; the shape is kept.

    Real and generated images both leave the project through here before features or disk.
    Raises NotFiniteError when a value is not finite, because a cast would hide it.
    """
    if not torch.isfinite(images).all():
        raise NotFiniteError("images hold values that are not finite")
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Uint8 images in [0, 255] to float32 in [-1, 1]: the inverse of `to_uint8` on its range."""
    return images.to(torch.float32).div(127.5).sub(1)


def sheet(images: Tensor, columns: int) -> Tensor:
    """Images (n, C, H, W) as one picture (C, rows*H, columns*W), row by row without gaps; n a multiple of columns."""
    n, c, h, w = images.shape
    rows = n // columns
    tiles = images[: rows * columns].reshape(rows, columns, c, h, w)
    return tiles.permute(2, 0, 3, 1, 4).reshape(c, rows * h, columns * w)
