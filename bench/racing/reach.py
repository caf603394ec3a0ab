"""When a score was first reached, and how many times as long one model took as another. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.contract.scores import Point
from bench.report.content.statistics import t_interval

MOST = 6  # levels of a table


@dataclass(frozen=True)
class Between:
    """A positive number of which bounds are known: a time in seconds, or a ratio of two."""

    low: float
    high: float  # infinite where there is no upper bound

    @property
    def exact(self) -> bool:
        return self.low == self.high


def time_to_reach(points: Sequence[Point], level: float) -> Between:
    """The training seconds after which a curve first has a score of at most `level`.

    The first point at or below the level decides: no later rise counts. Between it and the point before, the score is
    taken for a power of the time, a straight line on two logarithmic axes; where one of the scores is not positive, as
    an unbiased KID may be, for a straight line against the logarithm of time. Where the first point of all is below,
    the time is at most its own; where none is, it is at least that of the last.
    """
    for i, point in enumerate(points):
        if point.score > level:
            continue
        if i == 0:
            return Between(0.0 if point.score < level else point.seconds, point.seconds)
        before = points[i - 1]
        above, here, below = before.score, level, point.score
        if below > 0:
            above, here, below = math.log(above), math.log(here), math.log(below)
        share = (above - here) / (above - below)
        seconds = before.seconds ** (1 - share) * point.seconds**share
        return Between(seconds, seconds)
    return Between(points[-1].seconds if points else 0.0, math.inf)


def ratio(one: Between, other: Between) -> Between:
    """`one` over `other`, with the bounds that follow."""
    low = one.low / other.high if other.high > 0 else math.inf
    high = one.high / other.low if other.low > 0 else math.inf
    return Between(low, high)


@dataclass(frozen=True)
class Over:
    """Numbers of several seeds: their geometric mean and its 95 % interval, or what is known of them without."""

    mean: float | None  # None where one of them is not exact
    interval: tuple[float, float] | None  # None for a single seed
    bounds: Between  # that hold for every seed


def over_seeds(values: Sequence[Between]) -> Over:
    """The interval is Student's for the mean logarithm, one degree of freedom less than there are seeds."""
    bounds = Between(min(one.low for one in values), max(one.high for one in values))
    if not all(one.exact for one in values):
        return Over(None, None, bounds)
    logs = [math.log(one.low) for one in values]
    interval = None
    if len(logs) > 1:
        low, high = t_interval(logs)
        interval = math.exp(low), math.exp(high)
    return Over(math.exp(sum(logs) / len(logs)), interval, bounds)


def levels(scores: Iterable[float]) -> list[float]:
    """Round scores (1, 2 or 5 times a power of ten) within the range of those seen, the lowest `MOST`, highest first.

    They depend on the range alone, on no contestant. None where no score is positive.
    """
    positive = [score for score in scores if score > 0]
    if not positive:
        return []
    lowest, highest = min(positive), max(positive)
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    rounds = [float(f"{first}e{power}") for power in powers for first in (1, 2, 5)]
    return [one for one in rounds if lowest <= one <= highest][:MOST][::-1]
