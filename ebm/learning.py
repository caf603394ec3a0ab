"""The pieces of short-run learning that every trainer shares: its loss, its log and annealing.

Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1: draw negatives by short-run chains from noise, then ascend
mean f(data + sigma eps) - mean f(negatives), f = -E.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.contract.precision import full_precision
from bench.errors import DivergedError
from ebm.diagnostics import moments_gap


class SplitEnergy(Protocol):
    """An energy E(x) = of_features(features(x)) whose second factor is one linear layer."""

    def features(self, x: Tensor) -> Tensor:
        """(n, C, H, W) -> (n, ...)."""
        ...

    def of_features(self, h: Tensor) -> Tensor:
        """(n, ...) -> (n,)."""
        ...


def noisy(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Images (n, C, H, W) + sigma eps, eps ~ N(0, I)."""
    return images + sigma * torch.randn(images.shape, generator=generator, device=images.device)


class Contrast:
    """The energies of images (n, C, H, W) and of negatives (m, C, H, W), from one forward pass for both.

    The last layer is computed in the images' type whatever `bench.contract.precision.lowered` is in force: energies are
    compared with one another, and bfloat16 would round them to eight bits.
    """

    def __init__(self, energy: SplitEnergy, images: Tensor, negatives: Tensor):
        n = len(images)
        features = energy.features(torch.cat([images, negatives]).contiguous(memory_format=torch.channels_last))
        with full_precision(images.device):
            features = features.to(images.dtype)
            energies = energy.of_features(features)
        self._features = features[:n], features[n:]
        self._energies = energies[:n], energies[n:]
        self._square = energies.square().mean()

    def loss(self, penalty: float = 0.0) -> Tensor:
        """Mean E(images) - mean E(negatives) + penalty * mean E^2: what an update descends."""
        images, negatives = self._energies
        return images.mean() - negatives.mean() + penalty * self._square

    def scalars(self) -> dict[str, Tensor]:
        """Zero-dimensional tensors for the log."""
        images, negatives = (energies.detach() for energies in self._energies)
        return {
            "energy gap": negatives.mean() - images.mean(),  # mean f(images) - mean f(negatives)
            "energy rms": self._square.detach().sqrt(),
            "AUROC(data, chain)": (images[:, None] < negatives[None, :]).float().mean(),
            "moments gap": moments_gap(*self._features),  # of the last layer; learning drives it to 0
        }


def is_finite(log: Mapping[str, float], level: str = "") -> bool:
    """Whether the end of a chain (see `chain_scalars`) is finite everywhere: its least and largest values are."""
    return math.isfinite(log[f"chain min{level}"]) and math.isfinite(log[f"chain max{level}"])


def descend(optimizer: Optimizer, loss: Tensor, lr: float) -> None:
    """One step of `optimizer`, at rate `lr`, down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


def annealed(first: float, last: float, update: int, updates: int, begin: float = 0.0) -> float:
    """The value at `update` of a setting that falls linearly from `first` to `last` after the fraction `begin`."""
    start = begin * updates
    done = (update - start) / max(1.0, updates - start)
    return first + (last - first) * min(1.0, max(0.0, done))


def updates_apart(before: int, told_apart: float, limit: int, chains: str = "the chains") -> int:
    """Updates in a row, after `before` of them, in which every chain's end had a higher energy than every image.

    A chain whose steps overshoot does not come back: from then on the energy tells its ends from the data. Raises
    DivergedError when there are `limit` of them; 0 sets no limit.
    """
    apart = before + 1 if told_apart == 1.0 else 0
    if limit and apart >= limit:
        raise DivergedError(f"{chains} have lost the data: told apart without error for {apart} updates")
    return apart


def as_floats(scalars: dict[str, Tensor]) -> dict[str, float]:
    """Zero-dimensional tensors as numbers, by one transfer from the device."""
    values = torch.stack([value.float() for value in scalars.values()]).tolist()
    return dict(zip(scalars, values, strict=True))
