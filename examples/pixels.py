"""A feature extractor of one's own: a random projection of the pixels, a baseline that knows nothing of images.

python -m bench.compare --profile smoke --features examples.pixels:Projection
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional

from bench.contract.seeds import seeded


class Projection:
    """Images at 16 x 16, grey, through one random matrix; classes are ten further random directions."""

    name, side, width = "random-projection", 16, 32
    label = "random-projection, 16 px"

    def __init__(self, device: torch.device):
        self.matrix = torch.randn(self.side**2, self.width + 10, generator=seeded("projection")) / self.side
        self.weights_hash = hashlib.sha256(self.matrix.numpy().tobytes()).hexdigest()
        self.matrix = self.matrix.to(device)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 images (n, C, H, W) to features (n, 32) and logits (n, 10), float32, on the CPU."""
        grey = images.to(self.matrix.device).float().mean(1, keepdim=True).div(127.5).sub(1)
        small = functional.interpolate(grey, size=(self.side, self.side), mode="bilinear", antialias=True)
        projected = (small.flatten(1) @ self.matrix).cpu()
        return projected[:, : self.width], projected[:, self.width :]
