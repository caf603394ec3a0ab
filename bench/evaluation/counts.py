"""How many images scores are of: as many real ones stand in for samples as a model makes, or both sides have fewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.contract.scores import Score
from bench.data import ImageData
from bench.evaluation.config import EvaluationConfig
from bench.metrics import Metric

EQUAL = "equal counts"  # the table of scores that models have a second time, at the counts of the references
ENDING = f" at {EQUAL}"


@dataclass(frozen=True)
class Counts:
    """Images that are scored, and real ones that they are held against."""

    generated: int
    real: int


def of_models(data: ImageData, config: EvaluationConfig) -> Counts:
    """Those of a model's samples."""
    return Counts(config.samples, min(config.real or len(data.train), len(data.train)))


def protocol(data: ImageData, config: EvaluationConfig, extractor: str) -> str:
    """The models' counts and the extractor, in words: what a score of these samples must be compared with."""
    models, every = of_models(data, config), len(data.train)
    which = "all" if models.real == every else f"the first {models.real:,} of"
    return f"{models.generated:,} samples against {which} {every:,} training images, features of {extractor}"


def of_references(data: ImageData, config: EvaluationConfig) -> Counts:
    """Those of real images scored as if a model had made them; no image is on both sides.

    They are the models' where so many real images are left. Else the two sides share all real images: as many as the
    models' samples are scored, but at most two thirds of all, against the others.
    """
    models = of_models(data, config)
    every = len(data.train) + len(data.held_out) + len(data.spare)
    generated = min(models.generated, max(every - models.real, 2 * every // 3))
    return Counts(generated, min(models.real, every - generated))


def counted(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics whose expectation depends on the counts: they alone need to be computed a second time."""
    return {name: metric for name, metric in metrics.items() if not metric.unbiased}


def at_equal_counts(one: Score) -> Score:
    """The score under its name in the table of equal counts, where nothing leads."""
    return following(replace(one, name=one.name + ENDING, label=one.label + ENDING, table=EQUAL))


def following(one: Score, more: str = "") -> Score:
    """The score without its lead, which is said of the models' own counts, and with something `more` in its note."""
    parts = [part for part in one.note.split("; ") if part and not part.startswith("leads")]
    return replace(one, lead=False, note="; ".join([*parts, *([more] if more else [])]))
