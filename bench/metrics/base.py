"""What a metric is: a pure function of sets of features, and the words that a table needs about it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor

from bench.contract.scores import Table
from bench.errors import UserError
from bench.features import Features

T = TypeVar("T")


@dataclass(frozen=True)
class FeatureSets:
    """The features that one score is made of; nothing in it changes but its memory of work already done."""

    real: Features  # training images
    generated: Features
    held_out: Features | None = None  # real images that the model has not seen: for "memorization" and KID against them
    generated_is_held_out: bool = False  # the "generated" images are held-out ones: what compares the two is left out
    _of_real: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _own: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def unseen(self) -> Features | None:
        """The held-out images, where generated ones can be compared with them."""
        return None if self.generated_is_held_out else self.held_out

    def with_generated(self, generated: Features) -> FeatureSets:
        """Other generated images against the same real ones: what was computed of the real ones alone is kept."""
        return dataclasses.replace(self, generated=generated)

    def once(self, key: str, make: Callable[[], T], *, real_alone: bool = False) -> T:
        """`make()`, computed at the first call; `real_alone`: it reads nothing of `generated`."""
        memory = self._of_real if real_alone else self._own
        if key not in memory:
            memory[key] = make()
        return memory[key]


@dataclass(frozen=True)
class Measurement:
    """A metric's value with its own deviation."""

    value: float
    spread: float | None = None  # standard deviation over the subsets or splits, of which `value` is the mean
    details: dict[str, str] = field(default_factory=dict)  # "spread_of": "100 subsets of 1000"; "note": a caveat
    # What each generated image adds, (n_generated,) float64 of mean 0: to first order, the score of resampled images is
    # `value` plus the mean influence of those drawn. A function, since it may cost more than the value.
    influence: Callable[[], Tensor] | None = None
    noise: float = 0.0  # standard deviation of `value` given the images: subsets drawn at random, error of a fit
    within: tuple[float, float] = (-math.inf, math.inf)  # the value's range, which no interval leaves
    share: bool = False  # the value is a share, in [0, 1]
    splits: int = 0  # of how many disjoint splits `value` is the mean and `spread` the deviation (divisor `splits`)


class MetricFunction(Protocol):
    """(sets, seed) -> score, or None where the sets do not allow one. Draws, if any, are a function of `seed` alone."""

    def __call__(self, sets: FeatureSets, *, seed: int) -> Measurement | None: ...


@dataclass(frozen=True)
class Metric:
    """One column of a table."""

    name: str  # "FD", "KID", "IS"
    better: Literal["lower", "higher", "none"]  # "none": a description, by which nothing is ranked
    function: MetricFunction
    source: str  # the paper
    table: Table = "samples"  # in which it is shown: how far samples are from real images, or in what they differ
    leads: Literal["", "few", "many"] = ""  # whether it leads a table whose profile names no lead: by number of images
    swept: bool = False  # whether samples at other costs are scored by it
    natural: bool = False  # whether it presumes natural images: of others it is computed where it is asked for by name
    unbiased: bool = False  # whether its expectation is the same for any number of images
    # (n_real, n_generated) -> its expectation where all images are drawn from one distribution; None: not known
    of_equal: Callable[[int, int], float] | None = None


class TooFewImagesError(UserError):
    """Fewer images than a metric can do with; `score` adds the remedy, which depends on the extractor."""


def numpy_seed(seed: int) -> int:
    """A seed in the range that NumPy's RandomState takes; seeds below 2**32 stay themselves."""
    return seed % 2**32
