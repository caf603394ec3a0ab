"""Pictures of an evaluation: sheets of small images that the report enlarges and labels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bench.contract.images import sheet, to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import seeded
from bench.errors import NotFiniteError

COLUMNS, ROWS = 8, 8  # of the picture of samples
STRIPS = 6  # rows of interpolations and of chains
FAR = (100, 10)  # times a chain's own length: how far it is shown, the first of them that stays finite
PAIRS = 16  # generated images shown beside their nearest training images
PAIR = ("generated", "nearest in training")


@dataclass(frozen=True)
class Picture:
    """Images side by side: a uint8 sheet (C, rows*H, columns*W) and how it is divided."""

    image: Tensor
    rows: int
    columns: int
    labels: tuple[str, ...] = ()  # of the columns

    @classmethod
    def of(cls, images: Tensor, columns: int, labels: Iterable[str] = ()) -> Picture:
        """Images (n, C, H, W), float in [-1, 1] or uint8, row by row; n a multiple of `columns`."""
        pixels = images if images.dtype == torch.uint8 else to_uint8(images)
        return cls(sheet(pixels.cpu(), columns), len(images) // columns, columns, tuple(labels))

    def png(self) -> bytes:
        """The sheet as the content of a PNG file, grey or RGB."""
        array = self.image.permute(1, 2, 0).squeeze(2).numpy()
        file = io.BytesIO()
        Image.fromarray(array).save(file, format="PNG", optimize=True)
        return file.getvalue()

    def describe(self, file: str) -> dict[str, Any]:
        """The entry of a record or of scores for the picture that is kept as `file`."""
        labels = {"labels": list(self.labels)} if self.labels else {}
        return {"file": file, "rows": self.rows, "columns": self.columns, **labels}


def nearest_pairs(generated: Tensor, real: Tensor, index: Tensor, distance: Tensor) -> Picture:
    """The generated images that lie nearest to a training image, each beside it, nearest first.

    uint8 (n, C, H, W) and (m, C, H, W); of each generated image the index (n,) of its nearest real one and the
    distance (n,) to it, in feature space.
    """
    columns = min(COLUMNS // 2, len(generated))
    chosen = distance.argsort(stable=True)[: PAIRS // columns * columns]
    chosen = chosen[: len(chosen) // columns * columns]
    pairs = torch.stack([generated[chosen], real[index[chosen]]], dim=1).flatten(0, 1)
    return Picture.of(pairs, 2 * columns, PAIR * columns)


def path_strips(paths: Tensor) -> Picture:
    """The first few of paths (n, points, C, H, W) in [-1, 1], a row each."""
    points = paths.shape[1]
    labels = [f"{i / (points - 1):.2f}" for i in range(points)]
    return Picture.of(paths[:STRIPS].flatten(0, 1), points, labels)


def chain(model: GenerativeModel, seed: int, frames: int) -> dict[str, Picture]:
    """Samples on their way from noise to image, for a model that makes them in steps."""
    frames = min(frames, model.evaluations_per_sample + 1)
    if frames < 2:
        return {}
    path = model.trajectory(STRIPS, seeded(seed, "chain", device=model.device), frames)
    if path is None:
        return {}
    labels = [str(round(i * model.evaluations_per_sample / (frames - 1))) for i in range(frames)]
    return {"chain": Picture.of(path.transpose(0, 1).flatten(0, 1), frames, labels)}


def long_chain(model: GenerativeModel, seed: int) -> dict[str, Picture]:
    """The chains of `chain` run on: noise, then after K, 10 K and 100 K steps; what non-convergent looks like.

    A chain that leaves the finite numbers on the way is shown as far as 10 K; one that does so before, not at all.
    Nothing for a model whose paths do not run on.
    """
    if not model.paths_run_on:
        return {}
    for factor in FAR:
        longer = model.at_compute(factor)
        if longer is None:
            return {}
        try:
            path = longer.trajectory(STRIPS, seeded(seed, "chain", device=model.device), factor + 1)
        except NotFiniteError:
            continue
        if path is None:
            return {}
        shown = [0] + [times for times in (1, 10, 100) if times <= factor]  # frames stand K steps apart
        labels = [str(times * model.evaluations_per_sample) for times in shown]
        return {"long-chain": Picture.of(path[shown].transpose(0, 1).flatten(0, 1), len(shown), labels)}
    return {}
