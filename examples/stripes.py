"""A data set of one's own: images of random stripes, which no file has to hold.

python -m bench.compare --datasets examples.stripes:SOURCE --profile smoke --out results/stripes
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from bench.contract.seeds import seeded
from bench.data.source import Source, TensorPool


def _open(root: Path, side: int, progress: bool) -> TensorPool:
    generator = seeded("stripes")  # always the same images: a data set is no function of a run's seeds
    n = 2000
    angle = math.pi * torch.rand(n, 1, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    wave = torch.sin(2 * math.pi / side * 2 * (x * angle.cos() + y * angle.sin()) + phase)
    return TensorPool(((wave + 1) * 127.5).round().to(torch.uint8)[:, None])


SOURCE = Source(_open, status=lambda root: "there", sides=(8, 16, 28, 32))  # the first is its own
