"""What a chain tells of its health: gradient norms along it, and where it ends."""

from __future__ import annotations

import torch
from torch import Tensor


class ChainObserver:
    """Collects the mean gradient norm of every Langevin step, on the device; pass `observe` to `langevin`."""

    def __init__(self) -> None:
        self.norms: list[Tensor] = []

    def observe(self, k: int, x: Tensor, gradient: Tensor) -> None:
        self.norms.append(gradient.flatten(1).norm(dim=1).mean())

    def scalars(self, end: Tensor) -> dict[str, Tensor]:
        """Zero-dimensional tensors: mean ||E'(x_k)|| over the chain, spread, range and overshoot of its end."""
        norms = torch.stack(self.norms)
        return {
            "gradient norm": norms.mean(),
            "last gradient norm": norms[-1],
            "chain std": end.std(),
            "chain min": end.min(),
            "chain max": end.max(),
            "outside": (end.abs() > 1).float().mean(),  # fraction of pixels beyond [-1, 1]
        }
