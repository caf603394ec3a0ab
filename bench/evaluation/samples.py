"""Scores of generated images, and how they change with what a sample may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench import metrics
from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import in_blocks
from bench.errors import NotFiniteError
from bench.evaluation.entries import Real, check_images, curve
from bench.features import Features, extract
from bench.metrics import METRICS, ImageSets

SWEPT = ("KID", "FD")


@dataclass(frozen=True)
class Generated:
    """Images of a model and their features."""

    images: Tensor  # uint8 (n, C, H, W), or the first few where not all were to be kept
    features: Features


def generate(
    model: GenerativeModel, real: Real, n: int, seed: int, *, keep: int, title: str | None = None
) -> Generated:
    """`n` samples, a function of the weights and the evaluation's seed, with the first `keep` images of them.

    Raises NotFiniteError, and UserError for images of the wrong shape or range.
    """
    kept: list[Tensor] = []
    return Generated(
        features=extract(real.extractor, _samples(model, n, seed, keep, kept.append), progress=title, total=n),
        images=torch.cat(kept),
    )


def _samples(
    model: GenerativeModel, n: int, seed: int, keep: int, receive: Callable[[Tensor], None]
) -> Iterator[Tensor]:
    for images in in_blocks(model.sample, n, seed, "sample", device=model.device):
        check_images(images, model.image_shape)
        block = to_uint8(images).cpu()
        if keep > 0:
            receive(block[:keep])
            keep -= len(block)
        yield block


def score(sets: ImageSets, real: Real, seed: int, *, intervals: bool) -> list[dict[str, Any]]:
    """Every metric of `bench.metrics` for the generated images, in the order of the tables."""
    return metrics.score(sets, real.extractor, seed=seed, intervals=intervals)


def sweep(
    model: GenerativeModel, sets: ImageSets, real: Real, factors: Sequence[float], n: int, seed: int
) -> list[dict[str, Any]]:
    """KID and Frechet distance of `n` samples by the number of network evaluations that each may cost.

    `factors` are of the model's own number; [] for a model whose cost is fixed. A length at which samples are not
    finite has no point on the curves, and their titles say so.
    """
    found: dict[int, Features] = {}
    lost: set[int] = set()
    for factor in sorted(factors):
        other = model.at_compute(factor)
        if other is None:
            return []
        length = other.evaluations_per_sample
        if length in found or length in lost:
            continue
        try:
            found[length] = generate(other, real, n, seed, keep=1).features
        except NotFiniteError:
            lost.add(length)
    if not found:
        return []
    title = f" (not finite at {', '.join(map(str, sorted(lost)))} steps)" if lost else ""
    scored = {length: sets.with_generated(features) for length, features in found.items()}
    return [
        curve(
            f"{name} by chain length",
            "samples",
            "network evaluations a sample",
            f"{name}({real.extractor.label}), {n:,} images",
            list(scored),
            [_value(name, one, seed) for one in scored.values()],
            title=f"{name} by chain length{title}",
            log_x=True,
            mark=model.evaluations_per_sample,
        )
        for name in SWEPT
    ]


def _value(name: str, sets: ImageSets, seed: int) -> float:
    result = METRICS[name].function(sets, seed=seed)
    assert result is not None  # neither of the swept metrics is ever left out
    return result.value
