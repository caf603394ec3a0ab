"""The common form of scores and curves in a record, and what is computed the same way for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import BLOCK
from bench.errors import UserError
from bench.features import FeatureExtractor, Features, extract
from bench.metrics import Score, bootstrap, merge

RANGE_TOLERANCE = 1e-4  # float rounding at the ends of [-1, 1]


@dataclass(frozen=True)
class Real:
    """The real images' side of every score: training images, held-out ones, and what turns images into features."""

    extractor: FeatureExtractor
    train: Features
    held_out: Features

    def features(self, images: Iterable[Tensor]) -> Features:
        """Features of float images in [-1, 1], given in batches (n, C, H, W)."""
        return extract(self.extractor, (to_uint8(batch) for batch in images))


def entry(name: str, label: str, group: str, value: float, better: str, **rest: Any) -> dict[str, Any]:
    """One score of one evaluation seed, as `bench.metrics.merge` takes it and a record holds it."""
    defaults = {"spread": None, "spread_of": "", "interval": None, "interval_of": "", "lead": False, "note": ""}
    named = {"name": name, "label": label, "group": group, "value": float(value), "better": better}
    return named | defaults | rest


def means(values: dict[str, Tensor], *, seed: int, intervals: bool) -> dict[str, dict[str, Any]]:
    """Of numbers (n,) for each image, by name: mean, deviation over the images, 95 % bootstrap interval of the mean."""
    found = {name: each.double() for name, each in values.items()}
    bounds: list[tuple[float, float] | None] = [None] * len(found)
    if intervals:
        scores = [Score(float(each.mean()), influence=_centred(each)) for each in found.values()]
        bounds = bootstrap.intervals(scores, seed=seed)
    return {
        name: {
            "value": float(each.mean()),
            "spread": float(each.std()) if len(each) > 1 else None,
            "spread_of": f"{len(each)} images",
            "interval": None if interval is None else list(interval),
            "interval_of": "" if interval is None else bootstrap.INTERVAL_OF,
        }
        for (name, each), interval in zip(found.items(), bounds, strict=True)
    }


def _centred(each: Tensor) -> Callable[[], Tensor]:
    return lambda: each - each.mean()


def merged(per_seed: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """`bench.metrics.merge`, of what every seed yields: a path whose ends are equal may leave one without a score."""
    common = set.intersection(*({one["name"] for one in entries} for entries in per_seed))
    return merge([[one for one in entries if one["name"] in common] for entries in per_seed])


def curve(
    name: str, group: str, x_label: str, y_label: str, x: Sequence[float], y: Sequence[float], **rest: Any
) -> dict[str, Any]:
    """One curve of a record; `rest` may hold title, log_x and mark."""
    named = {"name": name, "title": name, "group": group, "x_label": x_label, "y_label": y_label}
    return named | {"x": list(x), "y": [float(value) for value in y], "log_x": False, "mark": None} | rest


def check_images(images: Tensor, image_shape: tuple[int, int, int]) -> None:
    """Raise UserError for images of a model that are not (n, C, H, W) of `image_shape`, or not in [-1, 1]."""
    if tuple(images.shape[1:]) != tuple(image_shape):
        raise UserError(
            f"the model made images of shape {tuple(images.shape[1:])}, not {tuple(image_shape)}: "
            "sample must return (n, C, H, W)"
        )
    extreme = images.abs().max().item()
    if extreme > 1 + RANGE_TOLERANCE:
        raise UserError(f"the model made a pixel of magnitude {extreme:.3g}: sample must return images in [-1, 1]")


def decoded(model: GenerativeModel, latents: Tensor) -> Tensor:
    """The images (n, C, H, W), on the CPU, of latents on any device: in blocks, without noise."""
    return torch.cat([model.decode(block.to(model.device)).cpu() for block in latents.split(BLOCK)])
