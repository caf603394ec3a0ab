"""The scores of image sets: one table of metrics, each a pure function of features; none sees a model or a path.

A new metric is one file with a `METRIC` and one line in `METRICS`. docs/metrics.md defines every column.
"""

from __future__ import annotations

import math
from typing import Any

from bench.errors import UserError
from bench.features import FeatureExtractor, Features, require_finite
from bench.metrics import frechet, inception_score, kid
from bench.metrics.base import Metric, Score

__all__ = ["METRICS", "Metric", "Score", "score"]

METRICS: dict[str, Metric] = {
    "FD": frechet.METRIC,
    "KID": kid.METRIC,
    "IS": inception_score.METRIC,
}


def score(real: Features, generated: Features, extractor: FeatureExtractor, *, seed: int) -> list[dict[str, Any]]:
    """Every metric of `METRICS` for `generated` against `real`: one JSON-able dict each, in the table's order.

    Keys: name ("FID" for official Inception, "FD" otherwise; "KID"; "IS"), label (the column's title), value, spread
    (standard deviation over subsets or splits, or None), spread_of, better, extractor, resize (pixels), weights_hash,
    n_real, n_generated, lead (True for the one that a table leads with), note (what a reader should know, or "").
    `real` comes first: the Inception Score looks at `generated` alone.
    Raises UserError: fewer than two images in a set, features that are not finite (which image); ValueError: widths
    that are not the extractor's.
    """
    _check(real, generated, extractor)
    leader = _leader(real, generated, extractor)
    rows = []
    for name, metric in METRICS.items():
        result = metric.function(real, generated, seed=seed)
        if not math.isfinite(result.value):
            raise ValueError(f"{name} is {result.value} although all features are finite: their scale is out of range")
        rows.append(
            {
                "name": "FID" if _is_fid(name, extractor) else name,
                "label": _label(name, extractor),
                "value": float(result.value),
                "spread": None if result.spread is None else float(result.spread),
                "spread_of": result.details.get("spread_of", ""),
                "better": metric.better,
                "extractor": extractor.name,
                "resize": extractor.side,
                "weights_hash": extractor.weights_hash,
                "n_real": len(real),
                "n_generated": len(generated),
                "lead": name == leader,
                "note": _note(name, result, leader),
            }
        )
    return rows


def _is_fid(name: str, extractor: FeatureExtractor) -> bool:
    return name == "FD" and extractor.name == "inception"


def _label(name: str, extractor: FeatureExtractor) -> str:
    if _is_fid(name, extractor):
        return "FID"
    return name if extractor.name == "inception" else f"{name}({extractor.name})"


def _leader(real: Features, generated: Features, extractor: FeatureExtractor) -> str:
    """KID where images are too few for a Frechet distance: its bias there can exceed what models differ by."""
    return "KID" if min(len(real), len(generated)) < 2 * extractor.width else "FD"


def _note(name: str, result: Score, leader: str) -> str:
    notes = [result.details["note"]] if "note" in result.details else []
    if name == leader == "KID":
        notes.append("leads: unbiased, and there are too few images for a Frechet distance")
    return "; ".join(notes)


def _check(real: Features, generated: Features, extractor: FeatureExtractor) -> None:
    for what, features in (("real", real), ("generated", generated)):
        if len(features) < 2:
            raise UserError(f"{len(features)} {what} images: a score needs at least 2 of each; take more images")
        if features.features.shape[1] != extractor.width:
            raise ValueError(
                f"{what} features are {features.features.shape[1]} wide, those of {extractor.name} {extractor.width}"
            )
        require_finite(features.features, features.logits, what=f"{what} features")
