"""What the same scores say of images that no model made: held-out real ones (floor) and uniform noise (ceiling)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.contract.images import from_uint8
from bench.contract.scores import Score
from bench.data import ImageData
from bench.errors import UserError
from bench.evaluation import inpainting
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.diagnostics import noise
from bench.evaluation.entries import Real, merged
from bench.evaluation.interpolation import ENDS, PATHS, measure, renamed, suffix
from bench.evaluation.reconstruction import How, compare
from bench.evaluation.samples import score
from bench.features.cache import cached
from bench.metrics import ImageSets

FLOOR, CEILING = "real, held out", "uniform noise"


@dataclass(frozen=True)
class Reference:
    """Images that no model made, scored like samples."""

    title: str
    scores: list[Score]


def references(
    data: ImageData,
    real: Real,
    config: EvaluationConfig,
    *,
    cache: Path | None,
    progress: str | None,
    samples_only: bool = False,  # leave reconstruction and interpolation out
) -> dict[str, Reference]:
    """The record's `references`: functions of the data set and the settings, of no model and no seed."""
    held_out = from_uint8(data.held_out)
    floor = torch.cat([data.held_out, data.spare])[: config.samples]
    images = {"floor": (FLOOR, floor), "ceiling": (CEILING, noise(config.samples, data.image_shape))}
    others: dict[str, list[Score]] = {"floor": [], "ceiling": []}
    if not samples_only:
        others["floor"] = _paths(_blends(held_out, config), real, "real, pixels blended")
        noises = _paths(_noise_paths(data, config), real, "independent noise")
        others["ceiling"] = [*_mean_image(data, config), *noises]
    result = {}
    for kind, (title, made) in images.items():
        features = cached(real.extractor, made, what=kind, folder=cache, progress=progress)
        try:
            sets = ImageSets(real.train, features, real.held_out, generated_is_held_out=kind == "floor")
            scores = score(sets, real, config, 0, intervals=True)
        except UserError as error:
            print(f"{data.name}: no scores of {title!r} images: {error}", file=sys.stderr)
            scores = []
        short = f"only {len(made):,} real images that are not for training"
        more = short if kind == "floor" and len(made) < config.samples else ""
        result[kind] = Reference(title, merged([[*(_following(one, more) for one in scores), *others[kind]]]))
    return result


def _following(one: Score, more: str) -> Score:
    """The score without its lead, which is said of the models."""
    parts = [part for part in one.note.split("; ") if part and not part.startswith("leads")]
    return replace(one, lead=False, note="; ".join([*parts, *([more] if more else [])]))


def _mean_image(data: ImageData, config: EvaluationConfig) -> list[Score]:
    """The error of reconstructing every held-out image as the mean of the training images."""
    images = from_uint8(data.held_out[: config.reconstructions])
    total = sum(part.double().sum(0) for part in data.train.split(4096))
    mean = (total / len(data.train)).div(127.5).sub(1).to(images.dtype)
    how = How(0, "mean image", made_of="the training images' mean")
    return compare(images, mean.expand_as(images).contiguous(), how) + inpainting.of_mean(images, mean, config, how)


def _paths(paths: Tensor, real: Real, made_of: str) -> list[Score]:
    """Their scores under the names of all kinds of paths, since no kind is theirs."""
    found = measure(paths, real) if len(paths) else []
    return [
        replace(renamed(one, suffix(path, ends)), made_of=made_of) for ends in ENDS for path in PATHS for one in found
    ]


def _blends(held_out: Tensor, config: EvaluationConfig) -> Tensor:
    """Pixels blended linearly between pairs of held-out images: (pairs, points, C, H, W)."""
    pairs = min(config.paths, len(held_out) // 2)
    a, b = held_out[: 2 * pairs : 2], held_out[1 : 2 * pairs : 2]
    return torch.stack([torch.lerp(a, b, i / (config.points - 1)) for i in range(config.points)], dim=1)


def _noise_paths(data: ImageData, config: EvaluationConfig) -> Tensor:
    """Independent noise at every point: (pairs, points, C, H, W)."""
    images = noise(config.paths * config.points, data.image_shape)
    return from_uint8(images).unflatten(0, (config.paths, config.points))
