"""Scores of generated images, and how they change with what a sample may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench import metrics
from bench.contract.model import GenerativeModel
from bench.contract.scores import Curve, Score
from bench.errors import NotFiniteError, UserError
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.counts import counted
from bench.evaluation.entries import Real
from bench.features import Features, extract
from bench.metrics import FeatureSets, Metric
from bench.sampling.blocks import Block, Sampler, here


@dataclass(frozen=True)
class Generated:
    """Images of a model and their features."""

    images: Tensor  # uint8 (n, C, H, W), or the first few where not all were to be kept
    features: Features


def generate(
    model: GenerativeModel,
    real: Real,
    n: int,
    seed: int,
    *,
    keep: int,
    title: str | None = None,
    by: Sampler = here,
    factor: float | None = None,  # of `at_compute`, where `model` is what it gave
) -> Generated:
    """`n` samples, a function of the weights and the evaluation's seed, with the first `keep` images of them.

    Raises NotFiniteError, and UserError for images of the wrong shape or range.
    """
    kept: list[Tensor] = []
    drawn = _kept(by(model, Block.all_of(n, seed, factor)), keep, kept.append)
    return Generated(features=extract(real.extractor, drawn, progress=title, total=n), images=torch.cat(kept))


def _kept(blocks: Iterator[Tensor], keep: int, receive: Callable[[Tensor], None]) -> Iterator[Tensor]:
    for block in blocks:
        if keep > 0:
            receive(block[:keep])
            keep -= len(block)
        yield block


def check_metrics(config: EvaluationConfig, *, natural: bool = True) -> None:
    """Raise UserError for metrics that are not there, and for a lead that is not one of them or ranks nothing.

    `natural` says whether the images are, as the data set's `Source` has it.
    """
    known = metrics.chosen(config.metrics, natural=natural)
    ranked = [name for name, metric in known.items() if metric.better != "none" and (natural or not metric.natural)]
    if config.lead and config.lead not in ranked:
        raise UserError(f"evaluation.lead={config.lead!r} decides nothing here: choose one of {', '.join(ranked)}")


def score(
    sets: FeatureSets, real: Real, config: EvaluationConfig, seed: int, *, intervals: bool, again: bool = False
) -> list[Score]:
    """Every metric that is wanted for the generated images, in the order of the tables.

    `again`: those alone that other counts of images move, without what compares with held-out images.
    """
    asked = wanted(config, real)
    asked = counted(asked) if again else asked
    if not asked:
        return []
    found = metrics.score(sets, real.extractor, seed=seed, intervals=intervals, metrics=asked, lead=config.lead)
    astray = {name for name, metric in asked.items() if metric.natural and not real.natural}
    return [_described(one) if one.name in astray else one for one in found]


def wanted(config: EvaluationConfig, real: Real) -> dict[str, Metric]:
    """The metrics that `config` names; where it names none, all that the images allow."""
    return metrics.chosen(config.metrics, natural=real.natural)


def _described(one: Score) -> Score:
    """A score by which nothing is ranked, as what it presumes does not hold."""
    note = "presumes natural images, which these are not: it describes, and can fall where samples become better"
    return replace(one, better="none", note="; ".join(filter(None, [one.note, note])))


def sweep(
    model: GenerativeModel, sets: FeatureSets, real: Real, config: EvaluationConfig, seed: int, by: Sampler = here
) -> list[Curve]:
    """The swept metrics of `config.sweep_samples` samples by the number of network evaluations that each may cost.

    The factors `config.sweep` are of the model's own number; [] for a model whose cost is fixed. A length at which
    samples are not finite has no point on the curves, and their titles say so.
    """
    found: dict[int, Features] = {}
    lost: set[int] = set()
    n = config.sweep_samples
    for factor in sorted(config.sweep):
        other = model.at_compute(factor)
        if other is None:
            return []
        length = other.evaluations_per_sample
        if length in found or length in lost:
            continue
        try:
            found[length] = generate(other, real, n, seed, keep=1, by=by, factor=factor).features
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
        for name, metric in wanted(config, real).items()
        if metric.swept
    ]


def _value(metric: Metric, sets: FeatureSets, seed: int) -> float:
    result = metric.function(sets, seed=seed)
    assert result is not None, f"{metric.name} is swept, so that no set may leave it out"
    return result.value
