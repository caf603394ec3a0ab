"""What a metric is: a pure function of two sets of features, and the words that a table needs about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.features import Features


@dataclass(frozen=True)
class Score:
    """A metric's value with its own deviation."""

    value: float
    spread: float | None = None  # standard deviation over the subsets or splits, of which `value` is the mean
    details: dict[str, str] = field(default_factory=dict)  # "spread_of": "100 subsets of 1000"; "note": a caveat


class MetricFunction(Protocol):
    """(real, generated, seed) -> score. Draws, if any, are a function of `seed` alone."""

    def __call__(self, real: Features, generated: Features, *, seed: int) -> Score: ...


@dataclass(frozen=True)
class Metric:
    """One column of a table."""

    name: str  # "FD", "KID", "IS"
    better: Literal["lower", "higher"]
    function: MetricFunction
    source: str  # the paper


def numpy_seed(seed: int) -> int:
    """A seed in the range that NumPy's RandomState takes; seeds below 2**32 stay themselves."""
    return seed % 2**32
