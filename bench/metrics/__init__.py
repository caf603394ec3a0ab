"""The scores of image sets: one table of metrics, each a pure function of features; none sees a model or a path.

A new metric is one file with a `METRIC` and one line in `METRICS`. docs/metrics.md defines every column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.contract import plugins
from bench.contract.scores import Score
from bench.errors import UserError
from bench.features import FeatureExtractor, require_finite
from bench.metrics import (
    bootstrap,
    coverage,
    frechet,
    frechet_infinity,
    inception_score,
    kid,
    kid_held_out,
    memorization,
    mmd,
)
from bench.metrics.base import FeatureSets, Measurement, Metric, TooFewImagesError
from bench.metrics.merging import merge

__all__ = ["METRICS", "FeatureSets", "Measurement", "Metric", "chosen", "merge", "score"]

FEWEST = 6  # images in a set: five nearest neighbours and the image itself

METRICS: dict[str, Metric] = {
    "FD": frechet.METRIC,
    "FD infinity": frechet_infinity.METRIC,
    "KID": kid.METRIC,
    "MMD": mmd.METRIC,
    "IS": inception_score.METRIC,
    "precision": coverage.PRECISION,
    "recall": coverage.RECALL,
    "density": coverage.DENSITY,
    "coverage": coverage.COVERAGE,
    "memorization": memorization.METRIC,
    "KID held-out": kid_held_out.METRIC,
    "KID memorization gap": kid_held_out.GAP,
}


def chosen(names: Sequence[str], *, natural: bool = True) -> dict[str, Metric]:
    """The metrics of these names, of `METRICS` or as `package.module:METRIC`; all of `METRICS` for no names.

    Where the images are not `natural`, all are those that do not presume it.
    UserError for a name that is unknown, something that is no metric, and two metrics of one name.
    """
    if not names:
        return {name: metric for name, metric in METRICS.items() if natural or not metric.natural}
    found: dict[str, Metric] = {}
    for name in names:
        metric = plugins.load(name, "metric", METRICS) if name in METRICS else _own(name)
        if metric.name in found:
            raise UserError(f"evaluation.metrics names {metric.name!r} twice: name each metric once")
        found[metric.name] = metric
    return found


def _own(target: str) -> Metric:
    if ":" not in target and not plugins.known(target, "metric", METRICS):
        choices = ", ".join(plugins.names("metric", METRICS))
        raise UserError(f"unknown metric {target!r}: choose from {choices}, or give package.module:METRIC")
    metric = plugins.load(target, "metric", form="package.module:METRIC")
    if not isinstance(metric, Metric):
        raise UserError(f"metric {target!r} is a {type(metric).__name__}: give a bench.metrics.Metric")
    if metric.name in METRICS:
        raise UserError(f"metric {target!r} is called {metric.name!r} as one of the suite's: give it another name")
    return metric


def score(
    sets: FeatureSets,
    extractor: FeatureExtractor,
    *,
    seed: int,
    intervals: bool = True,
    metrics: Mapping[str, Metric] = METRICS,
    lead: str = "",  # the name of the one that leads; "": by the number of images
) -> list[Score]:
    """Every one of `metrics` for `sets.generated` against `sets.real`, in table order, in the group "samples".

    The Frechet distance is named "FID" for the official Inception weights and "FD" otherwise. Intervals are 95 %, over
    the generated images. `intervals=False` leaves the intervals out and saves their time. What compares with held-out
    images is left out without `sets.held_out`, "FD infinity" with fewer generated images than twice the features.
    Scores of several evaluation seeds become one by `merge`.
    Raises UserError: too few images (which remedy), features that are not finite (which image); ValueError: widths
    that are not the extractor's.
    """
    _check(sets, extractor)
    try:
        results = {name: metric.function(sets, seed=seed) for name, metric in metrics.items()}
    except TooFewImagesError as few:
        raise UserError(f"{few}; {_remedy(extractor)}") from None
    found = {name: result for name, result in results.items() if result is not None}
    for name, result in found.items():
        if not math.isfinite(result.value):
            raise ValueError(f"{name} is {result.value} although all features are finite: their scale is out of range")
    bounds = bootstrap.intervals(list(found.values()), seed=seed) if intervals else [None] * len(found)
    leader = lead or _leader(sets, extractor, metrics)
    return [
        Score(
            name="FID" if _is_fid(name, extractor) else name,
            label=_label(name, extractor),
            group="samples",
            table=metrics[name].table,
            value=float(result.value),
            spread=None if result.spread is None else float(result.spread),
            spread_of=result.details.get("spread_of", ""),
            interval=interval,
            interval_of="" if interval is None else bootstrap.interval_of(result),
            within=result.within,
            better=metrics[name].better,
            extractor=extractor.name,
            resize=extractor.side,
            weights_hash=extractor.weights_hash,
            n_real=len(sets.real),
            n_generated=len(sets.generated),
            lead=name == leader,
            note=_note(name, result, leader),
        )
        for (name, result), interval in zip(found.items(), bounds, strict=True)
    ]


def _remedy(extractor: FeatureExtractor) -> str:
    narrower = getattr(extractor, "narrower", ())
    return f"take more images, or a narrower layer: {', '.join(narrower)}" if narrower else "take more images"


def _is_fid(name: str, extractor: FeatureExtractor) -> bool:
    return name == "FD" and extractor.name == "inception"


def _label(name: str, extractor: FeatureExtractor) -> str:
    """With layer and input size, but for the official Inception network, whose distance is called FID."""
    if extractor.name == "inception":
        return name.replace("FD", "FID")
    titles: Mapping[str, str] = getattr(extractor, "titles", {})  # such as FD-DINOv2
    return f"{titles.get(name, name)}({extractor.label})"


def _leader(sets: FeatureSets, extractor: FeatureExtractor, metrics: Mapping[str, Metric]) -> str:
    """KID where images are too few for a Frechet distance: its bias there can exceed what models differ by."""
    number = "few" if min(len(sets.real), len(sets.generated)) < 2 * extractor.width else "many"
    return next((name for name, metric in metrics.items() if metric.leads == number), next(iter(metrics)))


def _note(name: str, result: Measurement, leader: str) -> str:
    notes = [result.details["note"]] if "note" in result.details else []
    if name == leader == "KID":
        notes.append("leads: unbiased, and there are too few images for a Frechet distance")
    return "; ".join(notes)


def _check(sets: FeatureSets, extractor: FeatureExtractor) -> None:
    named = {"real": sets.real, "generated": sets.generated, "held-out": sets.held_out}
    for what, features in named.items():
        if features is None:
            continue
        if len(features) < FEWEST:
            raise UserError(f"{len(features)} {what} images: a score needs at least {FEWEST} of each; take more images")
        if features.features.shape[1] != extractor.width:
            raise ValueError(
                f"{what} features are {features.features.shape[1]} wide, those of {extractor.name} {extractor.width}"
            )
        require_finite(features.features, features.logits, what=f"{what} features")
