"""What a data set is to `bench.data`: a pool of images that can be counted cheaply and read by position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor


class Pool(Protocol):
    """All images that a split may choose from, in an order that depends on nothing but the files."""

    def __len__(self) -> int: ...

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        """The images at positions `chosen`: uint8 (len(chosen), C, H, W), and what was converted, a sentence each."""
        ...


@dataclass(frozen=True)
class Source:
    """One data set of the table. `open` raises UserError when its files are missing or unreadable."""

    open: Callable[[Path, int, bool], Pool]  # (data root or the user's path, side in pixels, show progress)
    status: Callable[[Path], str]  # (data root) -> "there", "can be downloaded" or "missing: ..."; reads no image
    sides: tuple[int, ...] = ()  # sides it can give, its own first; empty: any
    natural: bool = True  # photographs of things: what networks trained on ImageNet have classes for


@dataclass(frozen=True)
class TensorPool:
    """A pool that is in memory already."""

    images: Tensor  # uint8 (N, C, H, W), any strides
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        return self.images[list(chosen)].contiguous(), self.notes
