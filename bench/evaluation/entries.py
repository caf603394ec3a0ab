"""What is computed the same way for all scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.scores import Score
from bench.contract.seeds import BLOCK
from bench.features import FeatureExtractor, Features, extract
from bench.metrics import Measurement, bootstrap, merge


@dataclass(frozen=True)
class Real:
    """The real images' side of every score: training images, held-out ones, and what turns images into features."""

    extractor: FeatureExtractor
    train: Features
    held_out: Features
    natural: bool = True  # as the data set's `Source` says

    def features(self, images: Iterable[Tensor]) -> Features:
        """Features of float images in [-1, 1], given in batches (n, C, H, W)."""
        return extract(self.extractor, (to_uint8(batch) for batch in images))


@dataclass(frozen=True)
class Mean:
    """The mean of a measure over images, its standard deviation, and the 95 % bootstrap interval of the mean."""

    value: float
    spread: float | None
    interval: tuple[float, float] | None


def means(values: dict[str, Tensor], *, seed: int, intervals: bool) -> dict[str, Mean]:
    """The means of numbers (n,) for each image, by name; one image alone has neither spread nor interval."""
    found = {name: each.double() for name, each in values.items()}
    bounds: list[tuple[float, float] | None] = [None] * len(found)
    if intervals and all(len(each) > 1 for each in found.values()):
        measured = [Measurement(float(each.mean()), influence=_centred(each)) for each in found.values()]
        bounds = bootstrap.intervals(measured, seed=seed)
    return {
        name: Mean(float(each.mean()), float(each.std()) if len(each) > 1 else None, interval)
        for (name, each), interval in zip(found.items(), bounds, strict=True)
    }


def _centred(each: Tensor) -> Callable[[], Tensor]:
    return lambda: each - each.mean()


def merged(per_seed: Sequence[Sequence[Score]]) -> list[Score]:
    """`bench.metrics.merge` of what every seed yields: a path whose ends are equal may leave one without a score."""
    common = set.intersection(*({one.name for one in scores} for scores in per_seed))
    return merge([[one for one in scores if one.name in common] for scores in per_seed])


def decoded(model: GenerativeModel, latents: Tensor) -> Tensor:
    """The images (n, C, H, W), on the CPU, of latents on any device: in blocks, without noise."""
    return torch.cat([model.decode(block.to(model.device)).cpu() for block in latents.split(BLOCK)])
