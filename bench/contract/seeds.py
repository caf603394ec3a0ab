"""Random numbers as functions of named keys, so that a run is a function of its configuration and its seeds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

BLOCK = 64  # samples that share one generator; part of the protocol, since it decides which sample is which


def derive(*keys: int | str) -> int:
    """A 63-bit seed from `keys`: equal keys give equal seeds, different keys unrelated ones."""
    digest = hashlib.sha256(json.dumps(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seeded(*keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device` whose stream is a function of `keys` alone."""
    return torch.Generator(device=device).manual_seed(derive(*keys))


@contextlib.contextmanager
def seeded_init(generator: torch.Generator) -> Iterator[None]:
    """Layers built inside draw their first weights from `generator`; the global random state is left as it was."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would reseed every GPU's as well
        yield


Draw = Callable[[int, torch.Generator], Tensor]  # (n, generator) -> (n, ...)


def block(draw: Draw, n: int, index: int, *keys: int | str, device: torch.device | str = "cpu") -> Tensor:
    """Block `index` of `n` draws, from a generator of its own: `BLOCK` draws, or in the last block those that are left.

    Draw i is a function of (keys, i) alone: neither n, nor the order in which blocks are made, nor which process makes
    them changes it.
    """
    return draw(BLOCK, seeded(*keys, index, device=device))[: n - index * BLOCK]


def blocks_of(n: int) -> range:
    """The indices of the blocks of `n` draws."""
    return range(-(-n // BLOCK))


def in_blocks(draw: Draw, n: int, *keys: int | str, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """The blocks of `n` draws, made here one after another."""
    return (block(draw, n, index, *keys, device=device) for index in blocks_of(n))
