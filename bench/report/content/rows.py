"""The rows of a section: a model's records with their means, or images that no model made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from bench.report.content import statistics
from bench.report.content.outcomes import Absent, tally
from bench.results.record import Record

OVER_SEEDS = "t interval of the mean over training seeds"


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (ddof = 1) and half the width of the mean's 95 % t interval of n values.

    For a single value the last two are None, and `interval`, if any, is that of its cell over images.
    """

    mean: float
    std: float | None
    n: int
    half: float | None = None
    interval: Sequence[float] | None = None  # 95 %: low, high
    interval_of: str = ""  # what the interval is over, if there is one

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Summary:
        """One entry of a record's scores, with its interval."""
        return cls(float(entry["value"]), None, 1, None, entry["interval"], entry["interval_of"])


@dataclass(frozen=True)
class ReferenceRow:
    """Images that no model made: real ones, corrupted ones or noise, scored like a model's samples."""

    kind: str  # of bench.results.schema.REFERENCES
    title: str
    metrics: dict[str, dict[str, Any]]  # by name


@dataclass(frozen=True)
class Row:
    """One model under one configuration: its records, ordered by training seed, and its missing cells."""

    label: str
    records: tuple[Record, ...]  # empty if no cell of the model has a record yet
    absent: tuple[Absent, ...] = ()

    @property
    def finished(self) -> list[Record]:
        return [record for record in self.records if record.finished]

    @property
    def made_elsewhere(self) -> bool:
        return bool(self.records) and self.records[0].made_elsewhere

    @property
    def competes(self) -> bool:
        """Whether tests include it: a row made elsewhere has to have the training seeds that a test takes."""
        return not self.made_elsewhere or len(self.finished) >= statistics.FEWEST_SEEDS

    @property
    def diverged(self) -> list[Record]:
        return [record for record in self.records if record.data["status"] == "diverged"]

    @property
    def failed(self) -> list[Record]:
        """The records that diverged or ran out of memory; a mean over the others covers only surviving runs."""
        return [record for record in self.records if not record.finished]

    @property
    def status(self) -> str:
        """`3 finished`, or `2 finished, 1 diverged at update 812`, and so on: see `outcomes.tally`."""
        return tally(self.records, self.absent)

    def fact(self, path: str) -> Any:
        """A field that is the same in all records of one configuration; None where no record has it."""
        return at(self.records[0].data, path) if self.records else None

    def summary(self, path: str) -> Summary | None:
        """Mean and spread of a field over the finished seeds that have it; diverged seeds never count."""
        return summarize(found for record in self.finished if (found := at(record.data, path)) is not None)

    def entries(self, name: str) -> list[dict[str, Any]]:
        """The metric's entry in each finished record that has it."""
        return [metric for record in self.finished if (metric := record.metric(name))]

    def values(self, name: str) -> list[float]:
        """The metric's value in each finished record that has it."""
        return [float(entry["value"]) for entry in self.entries(name)]

    def score(self, name: str) -> Summary | None:
        """A metric over the finished seeds that have it; of a single one with its own interval."""
        return summary_of(self.entries(name))

    def untrained(self, name: str) -> Summary | None:
        """The same of the model with its first weights, over the finished seeds that have the metric of it."""
        return summary_of([one for record in self.finished for one in record.untrained if one["name"] == name])


def at(data: Any, path: str) -> Any:
    """A field of a record, such as `training.seconds`: None where it, or what holds it, is null or absent."""
    for name in path.split("."):
        data = (data or {}).get(name)
    return data


def summary_of(entries: Sequence[dict[str, Any]]) -> Summary | None:
    """A metric as several records state it; of a single one with its own interval."""
    return Summary.of(entries[0]) if len(entries) == 1 else summarize(entry["value"] for entry in entries)


def summarize(values: Iterable[float]) -> Summary | None:
    """Mean, standard deviation and interval of the mean; None if there are no values."""
    values = [float(value) for value in values]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Summary(mean, None, 1)
    low, high = statistics.t_interval(values)
    half = (high - low) / 2
    return Summary(mean, stdev(values), len(values), half, (mean - half, mean + half), OVER_SEEDS)
