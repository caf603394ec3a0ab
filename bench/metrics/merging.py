"""Scores of several evaluation seeds made one: pure bookkeeping, for every group of metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from bench.contract.scores import Score
from bench.errors import UserError

# What must be equal for values to be averaged.
PROTOCOL = (
    *("label", "group", "better", "extractor", "resize", "weights_hash", "n_real", "n_generated"),
    *("n", "points", "budget", "budget_unit", "method"),
)


def merge(per_seed: Sequence[Sequence[Score]]) -> list[Score]:
    """One list of scores from a list for each evaluation seed, in the order of the first.

    `per_seed` of each holds the values, `value` and `spread` are means over the seeds (a spread that one seed lacks is
    None), `interval` is that of the mean value, and all else is what the first seed says.
    Raises UserError: scores that one seed has and another has not, or that differ in counts, label or extractor;
    ValueError: no seeds, or a name that occurs twice.
    """
    if not per_seed:
        raise ValueError("there are no evaluation seeds to merge")
    tables = [_by_name(scores) for scores in per_seed]
    for index, table in enumerate(tables[1:], start=2):
        odd = sorted(tables[0].keys() ^ table.keys())
        if odd:
            raise UserError(
                f"evaluation seed {index} of {len(tables)} and the first do not both have {odd[0]!r}: "
                "take more images, so that every seed yields every metric"
            )
    return [_merged([table[score.name] for table in tables]) for score in per_seed[0]]


def _merged(scores: list[Score]) -> Score:
    first = scores[0]
    for other in scores[1:]:
        for key in PROTOCOL:
            if getattr(first, key) != getattr(other, key):
                raise UserError(
                    f"{first.name}: {key} is {getattr(first, key)!r} for one evaluation seed and "
                    f"{getattr(other, key)!r} for another: only equal ones are averaged; evaluate every seed with the "
                    "same settings"
                )
    values = tuple(score.value for score in scores)
    spreads = [score.spread for score in scores if score.spread is not None]
    spread = statistics.fmean(spreads) if len(spreads) == len(scores) else None
    value = statistics.fmean(values)
    return replace(first, value=value, per_seed=values, spread=spread, interval=_interval(value, scores))


def _interval(value: float, scores: Sequence[Score]) -> tuple[float, float] | None:
    """Around the mean of the values: each side is the root mean square of the seeds' own, over the root of the seeds
    where each seed drew other images. Reconstructed images are the same for all. Seeds without one are like the others.
    No side leaves the score's range.
    """
    own = [(score.value, *score.interval) for score in scores if score.interval is not None]
    if not own:
        return None
    independent = len(scores) if scores[0].group == "samples" else 1
    below = math.sqrt(statistics.fmean((each - low) ** 2 for each, low, _ in own) / independent)
    above = math.sqrt(statistics.fmean((high - each) ** 2 for each, _, high in own) / independent)
    least, most = (
        bound(end, value) for bound, end in zip((min, max), scores[0].within, strict=True)
    )  # but for rounding
    return max(value - below, least), min(value + above, most)


def _by_name(scores: Sequence[Score]) -> dict[str, Score]:
    table = {score.name: score for score in scores}
    if len(table) < len(scores):
        raise ValueError(f"names of metrics occur twice: {[score.name for score in scores]}")
    return table
