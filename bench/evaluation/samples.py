"""Scores of generated images, and how they change with what a sample may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import metrics
from bench.contract.images import to_uint8
from bench.contract.model import GenerativeModel
from bench.contract.scores import Curve, Score
from bench.contract.seeds import in_blocks
from bench.errors import NotFiniteError, UserError
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.counts import counted
from bench.evaluation.entries import Real, check_images
from bench.features import Features, extract
from bench.metrics import ImageSets, Metric


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


def check_metrics(config: EvaluationConfig) -> None:
    """Raise UserError for metrics that are not there, and for a lead that is none of them or ranks nothing."""
    wanted = metrics.chosen(config.metrics)
    if config.lead and (config.lead not in wanted or wanted[config.lead].better == "none"):
        ranked = [name for name, metric in wanted.items() if metric.better != "none"]
        raise UserError(f"evaluation.lead={config.lead!r} decides nothing here: choose one of {', '.join(ranked)}")


def score(
    sets: ImageSets, real: Real, config: EvaluationConfig, seed: int, *, intervals: bool, again: bool = False
) -> list[Score]:
    """Every metric that is wanted for the generated images, in the order of the tables.

    `again`: those alone that other counts of images move, without what compares with held-out images.
    """
    wanted = metrics.chosen(config.metrics)
    wanted = counted(wanted) if again else wanted
    if not wanted:
        return []
    return metrics.score(sets, real.extractor, seed=seed, intervals=intervals, metrics=wanted, lead=config.lead)


def sweep(model: GenerativeModel, sets: ImageSets, real: Real, config: EvaluationConfig, seed: int) -> list[Curve]:
    """The swept metrics of `config.sweep_samples` samples by the number of network evaluations that each may cost.

    The factors `config.sweep` are of the model's own number; [] for a model whose cost is fixed. A length at which
    samples are not finite has no point on the curves, and their titles say so.
    """
    found: dict[int, Features] = {}
    lost: set[int] = set()
    wanted, n = metrics.chosen(config.metrics), config.sweep_samples
    for factor in sorted(config.sweep):
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
        Curve(
            name=f"{name} by {model.step_name}s",
            group="samples",
            x_label=f"{model.step_name}s per sample",
            y_label=f"{name}({real.extractor.label}), {n:,} images",
            x=tuple(scored),
            y=tuple(_value(metric, one, seed) for one in scored.values()),
            title=f"{name} by {model.step_name}s{title}",
            log_x=True,
            mark=model.evaluations_per_sample,
        )
        for name, metric in wanted.items()
        if metric.swept
    ]


def _value(metric: Metric, sets: ImageSets, seed: int) -> float:
    result = metric.function(sets, seed=seed)
    assert result is not None, f"{metric.name} is swept, so that no set may leave it out"
    return result.value
