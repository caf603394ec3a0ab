"""`digits`: the 1,797 handwritten digits (UCI, 1x8x8) that scikit-learn carries, so that a first run needs no files."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.data.source import Source, TensorPool


def _open(root: Path, side: int, progress: bool) -> TensorPool:
    from sklearn.datasets import load_digits  # here, because it takes a second to import

    values = torch.from_numpy(load_digits().images)  # (1797, 8, 8) in 0..16
    images = (values * (255 / 16)).round().to(torch.uint8)
    return TensorPool(images[:, None], ("grey levels 0..16 scaled to 0..255",))


SOURCE = Source(_open, status=lambda root: "there", sides=(8,), natural=False)
