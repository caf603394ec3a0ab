"""Which scores are best beyond chance, and how much of a score's variance the sampling alone explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.report.content import statistics
from bench.report.content.sections import Row, Section, score

ALPHA = 0.05
FEWEST_TRAINING, FEWEST_EVALUATION = 5, 3  # seeds, for a share of the variance


@dataclass(frozen=True)
class Ranking:
    """The verdict on the tables of one section."""

    best: dict[str, str]  # metric name -> label of the row that is better than every other beyond chance
    comparisons: int  # columns tested, each by one p-value
    test: str  # in words
    untested: dict[str, str]  # metric name -> why it was not tested
    withheld: dict[str, str]  # metric name -> label of a row that would be best, but not all of its runs finished
    p_values: dict[str, dict[str, float]]  # metric name -> label of a row -> p of the leader against it, not corrected
    order: dict[str, list[str]]  # metric name -> labels of the rows that have a score, the best mean first
    decisive: dict[str, float]  # metric name -> the corrected p-value that its winner is named by
    effects: dict[str, dict[str, statistics.Effect]]  # metric name -> label of a row -> mean of the leader less its own
    untrained: dict[str, list[str]]  # metric name -> rows that untrained are as good as the best: it is not ranked

    def shut(self, section: Section) -> bool:
        """Whether the declared lead score was tested and has no winner, so that no other column can have one."""
        return (
            section.lead_declared and section.lead is not None and self.decisive.get(section.lead["name"], 0.0) > ALPHA
        )


def rank(section: Section) -> Ranking:
    """Test the best model of every column of the section's tables against each other model of that column.

    A lead score that was declared before anything was scored is tested first, and all others only where it has a
    winner: `statistics.winners`.
    """
    columns, untrained = {}, {}
    for metric in section.tabulated:
        values = {row.label: _values(row, metric["name"]) for row in section.rows}
        values = {label: found for label, found in values.items() if found}
        if values and metric["better"] != "none":
            if as_good := _as_good_untrained(section, metric["name"], metric["better"], values):
                untrained[metric["name"]] = as_good
            else:
                columns[metric["name"]] = (metric["better"], values)
    lead = section.lead["name"] if section.lead and section.lead_declared else None
    verdict = statistics.winners(columns, alpha=ALPHA, lead=lead)
    whole = {row.label for row in section.rows if not row.failed}
    best = {name: label for name, label in verdict.best.items() if label is not None}
    return Ranking(
        best={name: label for name, label in best.items() if label in whole},
        comparisons=verdict.comparisons,
        test=verdict.test,
        untested=verdict.untested,
        withheld={name: label for name, label in best.items() if label not in whole},
        p_values=verdict.p_values,
        order={name: _ordered(values, better) for name, (better, values) in columns.items()},
        decisive=verdict.decisive,
        effects=verdict.effects,
        untrained=untrained,
    )


def _as_good_untrained(section: Section, name: str, better: str, values: dict[str, list[float]]) -> list[str]:
    """The rows whose models score at least as well with their first weights as the best trained one: by the means."""
    sign = 1 if better == "lower" else -1
    best = min(sign * float(np.mean(own)) for own in values.values())
    means = {row.label: own.mean for row in section.rows if (own := row.untrained(name))}
    return [label for label, mean in means.items() if sign * mean <= best]


def _ordered(values: dict[str, list[float]], better: str) -> list[str]:
    sign = 1 if better == "lower" else -1
    return sorted(values, key=lambda label: sign * float(np.mean(values[label])))  # stable, as statistics.winner is


@dataclass(frozen=True)
class Share:
    """The share, in [0, 1], of a score's variance that comes from the evaluation seed, not from the training seed."""

    value: float
    interval: tuple[float, float]  # exact, 95 %


def sampling_share(row: Row, name: str) -> Share | None:
    """The share with its interval; None below five training seeds of three evaluation seeds, or where nothing varies.

    Fewer say nothing: the interval of three by two runs is from about 1 to 100 %.
    """
    values = [metric["per_seed"] for record in row.finished if (metric := record.metric(name))]
    if len(values) < FEWEST_TRAINING or len({len(value) for value in values}) > 1:
        return None
    if len(values[0]) < FEWEST_EVALUATION:
        return None
    parts = statistics.variance_parts(values)
    return Share(parts.share, parts.interval) if parts.total > 0 else None


def _values(row: Row, name: str) -> list[float]:
    return [value for record in row.finished if (value := score(record, name)) is not None]
