"""Samples that are scored, block by block: what decides a block beside the weights, and who draws it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from bench.contract import seeds
from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.errors import UserError

RANGE_TOLERANCE = 1e-4  # float rounding at the ends of [-1, 1]


@dataclass(frozen=True)
class Block:
    """All that decides a block of samples but the model's weights; it can be sent to another process."""

    n: int  # samples in all, of which this is a block
    seed: int  # of the evaluation
    index: int  # among the blocks of the n samples
    factor: float | None = None  # of the model's compute, as `at_compute` takes it; None: the model as it is

    @classmethod
    def all_of(cls, n: int, seed: int, factor: float | None = None) -> list[Block]:
        """The blocks of `n` samples, in order."""
        return [cls(n, seed, index, factor) for index in seeds.blocks_of(n)]


class Sampler(Protocol):
    """Who draws samples. The blocks come as `draw` makes them, in the order in which they are asked for."""

    def __call__(self, model: GenerativeModel, blocks: Sequence[Block]) -> Iterator[Tensor]:
        """`model` is the one that `at_compute` gives for the blocks' factor."""
        ...


Sampling = Callable[[], contextlib.AbstractContextManager[Sampler]]  # other processes may be at work inside the block


def draw(model: GenerativeModel, block: Block) -> Tensor:
    """The samples of a block, uint8 (at most 64, C, H, W), on the CPU: a function of the weights and the block.

    Raises NotFiniteError, and UserError for images of the wrong shape or range.
    """
    images = seeds.block(model.sample, block.n, block.index, block.seed, "sample", device=model.device)
    _check(images, model.image_shape)
    return to_uint8(images).cpu()


def _check(images: Tensor, image_shape: tuple[int, int, int]) -> None:
    """Raise UserError for images of a model that are not (n, C, H, W) of `image_shape`, or not in [-1, 1]."""
    if tuple(images.shape[1:]) != tuple(image_shape):
        raise UserError(
            f"the model made images of shape {tuple(images.shape[1:])}, not {tuple(image_shape)}: "
            "sample must return (n, C, H, W)"
        )
    extreme = images.abs().max().item()
    if extreme > 1 + RANGE_TOLERANCE:
        raise UserError(f"the model made a pixel of magnitude {extreme:.3g}: sample must return images in [-1, 1]")


def here(model: GenerativeModel, blocks: Sequence[Block]) -> Iterator[Tensor]:
    """The `Sampler` that draws in this process, one block after another."""
    return (draw(model, block) for block in blocks)


def alone() -> contextlib.AbstractContextManager[Sampler]:
    """The `Sampling` in this process."""
    return contextlib.nullcontext(here)
