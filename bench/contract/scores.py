"""What is measured, typed: a score, a curve, and what a model says of itself. Frozen; no torch.

Models and evaluation make them, metrics fill them, `bench/results/record.py` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Better = Literal["lower", "higher", "none"]  # "none": a description, which is neither ranked nor tested
# how far samples are from real images; in what they differ; both again at the counts that real images can be scored at
Table = Literal["samples", "variety", "equal counts"]
Group = Literal["samples", "reconstruction", "interpolation", "diagnostics"]  # what a score or a curve is about


@dataclass(frozen=True)
class Score:
    """One number about one model, or about images that no model made, and what a reader must know of it."""

    name: str  # the key in records: "FD", "MSE"
    label: str  # a column's title: "FD(efficientnet-lite0, 112 px)"
    group: Group
    value: float
    better: Better
    per_seed: tuple[float, ...] = ()  # a value for each evaluation seed, of which `value` is the mean
    spread: float | None = None  # standard deviation over what `spread_of` names
    spread_of: str = ""  # "100 subsets of 500", "299 images"
    interval: tuple[float, float] | None = None  # 95 %
    interval_of: str = ""  # how it was made
    table: Table | None = None  # of the group "samples"
    within: tuple[float, float] = (-math.inf, math.inf)  # the measure's range
    lead: bool = False  # the score that a table leads with
    note: str = ""
    # what follows is None where it does not apply
    extractor: str | None = None
    resize: int | None = None  # side in pixels that images have for the extractor
    weights_hash: str | None = None  # SHA-256 of the extractor's weights
    n_real: int | None = None
    n_generated: int | None = None
    n: int | None = None  # images or paths that the value is the mean over
    points: int | None = None  # on a path
    budget: int | None = None
    budget_unit: str | None = None
    method: str | None = None  # how images were reconstructed
    made_of: str | None = None  # what was scored where no model made it


@dataclass(frozen=True)
class Curve:
    """A quantity against another one. Curves that share a figure are drawn side by side there as well."""

    name: str
    group: Group
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]  # as many as x, all finite
    title: str = ""  # the name, if empty
    log_x: bool = False
    mark: float | None = None  # on the x axis: the setting in use
    figures: Mapping[str, str] = field(default_factory=dict)  # figure that shows it beside others -> its title there


@dataclass(frozen=True)
class Point:
    """A score on the way of a training."""

    updates: int
    seconds: float  # of training alone
    score: float  # lower is better


@dataclass(frozen=True)
class Diagnostics:
    """What a model says of its own sampler; nothing for one that has nothing to say."""

    scores: tuple[Score, ...] = ()
    curves: tuple[Curve, ...] = ()


def description(name: str, value: float, note: str = "") -> Score:
    """A number of the group "diagnostics" that describes and does not rank."""
    return Score(name, name, "diagnostics", value, "none", note=note)


@dataclass(frozen=True)
class Throughput:
    """How fast a model samples on one device."""

    samples_per_second: float  # the median
    samples_per_second_range: tuple[float, float]
    evaluations_per_second: float  # of the sampler's network
    batch_size: int
    repeats: int
    device: str  # the processor's name
    dtype: str
    threads: int
    peak_memory_mib: float | None  # None where the system does not say
    peak_memory_of: str  # what it is the peak of
