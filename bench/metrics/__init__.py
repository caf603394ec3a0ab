"""The scores of image sets: one table of metrics, each a pure function of features; none sees a model or a path.

A new metric is one file with a `METRIC` and one line in `METRICS`. docs/metrics.md defines every column.
"""

from __future__ import annotations

import math
from typing import Any

from bench.errors import UserError
from bench.features import FeatureExtractor, require_finite
from bench.metrics import (
    bootstrap,
    copying,
    coverage,
    frechet,
    frechet_infinity,
    inception_score,
    kid,
    kid_held_out,
    mmd,
)
from bench.metrics.base import ImageSets, Metric, Score, TooFewImagesError
from bench.metrics.merging import merge

__all__ = ["METRICS", "ImageSets", "Metric", "Score", "merge", "score"]

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
    "copying": copying.METRIC,
    "KID held-out": kid_held_out.METRIC,
    "KID memorization gap": kid_held_out.GAP,
}


def score(sets: ImageSets, extractor: FeatureExtractor, *, seed: int, intervals: bool = True) -> list[dict[str, Any]]:
    """Every metric of `METRICS` for `sets.generated` against `sets.real`: one JSON-able dict each, in table order.

    Keys: name ("FID" for official Inception, "FD" otherwise; "KID"; ...), label (a column's title), group ("samples"),
    value, spread (standard deviation over subsets or splits, or None), spread_of, interval (95 % interval
    [low, high] over the generated images, or None), interval_of, within (the value's range, None where it has no
    bound; `merge` takes it out), better, extractor, resize (pixels), weights_hash,
    n_real, n_generated, lead (True for the one that a table leads with), note (what a reader should know, or "").
    `intervals=False` leaves the intervals out and saves their time. What compares with held-out images
    is left out without `sets.held_out`, "FD infinity" with fewer than twice as many generated images as features.
    Entries of several evaluation seeds become one by `merge`.
    Raises UserError: too few images (which remedy), features that are not finite (which image); ValueError: widths
    that are not the extractor's.
    """
    _check(sets, extractor)
    try:
        results = {name: metric.function(sets, seed=seed) for name, metric in METRICS.items()}
    except TooFewImagesError as few:
        raise UserError(f"{few}; {_remedy(extractor)}") from None
    found = {name: result for name, result in results.items() if result is not None}
    for name, result in found.items():
        if not math.isfinite(result.value):
            raise ValueError(f"{name} is {result.value} although all features are finite: their scale is out of range")
    bounds = bootstrap.intervals(list(found.values()), seed=seed) if intervals else [None] * len(found)
    leader = _leader(sets, extractor)
    return [
        {
            "name": "FID" if _is_fid(name, extractor) else name,
            "label": _label(name, extractor),
            "group": "samples",
            "value": float(result.value),
            "spread": None if result.spread is None else float(result.spread),
            "spread_of": result.details.get("spread_of", ""),
            "interval": None if interval is None else list(interval),
            "interval_of": "" if interval is None else bootstrap.interval_of(result),
            "within": [bound if math.isfinite(bound) else None for bound in result.within],
            "better": METRICS[name].better,
            "extractor": extractor.name,
            "resize": extractor.side,
            "weights_hash": extractor.weights_hash,
            "n_real": len(sets.real),
            "n_generated": len(sets.generated),
            "lead": name == leader,
            "note": _note(name, result, leader),
        }
        for (name, result), interval in zip(found.items(), bounds, strict=True)
    ]


def _remedy(extractor: FeatureExtractor) -> str:
    narrower = getattr(extractor, "narrower", ())
    return f"take more images, or a narrower layer: {', '.join(narrower)}" if narrower else "take more images"


def _is_fid(name: str, extractor: FeatureExtractor) -> bool:
    return name == "FD" and extractor.name == "inception"


def _label(name: str, extractor: FeatureExtractor) -> str:
    if _is_fid(name, extractor):
        return "FID"
    name = name.replace("FD", "FID") if extractor.name == "inception" else name
    return name if extractor.name == "inception" else f"{name}({extractor.label})"  # with layer and input size


def _leader(sets: ImageSets, extractor: FeatureExtractor) -> str:
    """KID where images are too few for a Frechet distance: its bias there can exceed what models differ by."""
    return "KID" if min(len(sets.real), len(sets.generated)) < 2 * extractor.width else "FD"


def _note(name: str, result: Score, leader: str) -> str:
    notes = [result.details["note"]] if "note" in result.details else []
    if name == leader == "KID":
        notes.append("leads: unbiased, and there are too few images for a Frechet distance")
    return "; ".join(notes)


def _check(sets: ImageSets, extractor: FeatureExtractor) -> None:
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
