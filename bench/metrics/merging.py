"""Entries of several evaluation seeds made one: pure bookkeeping, for every group of metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from bench.errors import UserError

# What must be equal for values to be averaged; a key that an entry does not have counts as None.
PROTOCOL = (
    *("label", "group", "better", "extractor", "resize", "weights_hash", "n_real", "n_generated"),
    *("n", "points", "budget", "budget_unit", "method"),
)


def merge(per_seed: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One list of entries from a list for each evaluation seed, in the order of the first.

    "per_seed" holds the values, "value" and "spread" are means over the seeds (a spread that one seed lacks is None),
    "interval" is that of the mean value, and all else is what the first seed says. Nothing given is changed.
    Raises UserError: entries that one seed has and another has not, or that differ in counts, label or extractor;
    ValueError: no seeds, or a name that occurs twice.
    """
    if not per_seed:
        raise ValueError("there are no evaluation seeds to merge")
    tables = [_by_name(entries) for entries in per_seed]
    for index, table in enumerate(tables[1:], start=2):
        odd = sorted(tables[0].keys() ^ table.keys())
        if odd:
            raise UserError(
                f"evaluation seed {index} of {len(tables)} and the first do not both have {odd[0]!r}: "
                "take more images, so that every seed yields every metric"
            )
    return [_merged([table[entry["name"]] for table in tables]) for entry in per_seed[0]]


def _merged(entries: list[dict[str, Any]]) -> dict[str, Any]:
    first = entries[0]
    for other in entries[1:]:
        for key in PROTOCOL:
            if first.get(key) != other.get(key):
                raise UserError(
                    f"{first['name']}: {key} is {first.get(key)!r} for one evaluation seed and {other.get(key)!r} for "
                    "another: only equal ones are averaged; evaluate every seed with the same settings"
                )
    values = [entry["value"] for entry in entries]
    spreads = [entry.get("spread") for entry in entries]
    value = statistics.fmean(values)
    kept = {key: of for key, of in first.items() if key != "within"}
    return kept | {
        "value": value,
        "per_seed": values,
        "spread": None if None in spreads else statistics.fmean(spreads),
        "interval": _interval(value, entries),
        "interval_of": first.get("interval_of", ""),
    }


def _interval(value: float, entries: Sequence[dict[str, Any]]) -> list[float] | None:
    """Around the mean of the values: each side is the root mean square of the seeds' own, over the root of the seeds
    where each seed drew other images. Reconstructed images are the same for all. Seeds without one are like the others.
    No side leaves the range that "within" states.
    """
    own = [(entry["value"], *entry["interval"]) for entry in entries if entry.get("interval") is not None]
    if not own:
        return None
    independent = len(entries) if entries[0]["group"] == "samples" else 1
    below = math.sqrt(statistics.fmean((each - low) ** 2 for each, low, _ in own) / independent)
    above = math.sqrt(statistics.fmean((high - each) ** 2 for each, _, high in own) / independent)
    least, most = entries[0].get("within") or (None, None)
    low, high = value - below, value + above
    return [low if least is None else max(low, least), high if most is None else min(high, most)]


def _by_name(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    table = {entry["name"]: entry for entry in entries}
    if len(table) < len(entries):
        raise ValueError(f"names of metrics occur twice: {[entry['name'] for entry in entries]}")
    return table
