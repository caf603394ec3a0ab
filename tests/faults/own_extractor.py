"""An extractor that costs nothing, for `--features tests.faults.own_extractor:Projection`."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract.seeds import seeded


class Projection:
    """Random projections of the pixels of digits: its scores mean nothing, but every flipped bit would show in them."""

    name, side, width, weights_hash, label = "projection", 8, 16, "0" * 8, "projection, 8 px"

    def __init__(self, device: torch.device):
        self.weights = torch.randn(64, self.width, generator=seeded("projection"))

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 16) and logits (n, 10) of uint8 images (n, 1, 8, 8)."""
        features = (images[:, 0].flatten(1).float() / 255) @ self.weights
        return features, features[:, :10]
