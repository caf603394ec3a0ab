"""Which scores are best beyond chance, and how much of a score's variance is due to sampling alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.report.content import statistics
from bench.report.content.numerals import joined
from bench.report.content.sections import EQUAL, Row, Section, score

ALPHA = 0.05
FEWEST_TRAINING, FEWEST_EVALUATION = 5, 3  # seeds, for a share of the variance


@dataclass(frozen=True)
class Ranking:
    """The verdict on the tables of one section."""

    best: dict[str, str]  # metric name -> label of the row that is better than every other beyond chance
    comparisons: int  # columns tested, each by one p-value
    test: str  # in words
    untested: dict[str, str]  # metric name -> why it was not tested
    withheld: dict[str, str]  # metric name -> label of a winner that is not named, as not all of its runs finished
    p_values: dict[str, dict[str, float]]  # metric name -> label of a row -> p of the leader against it, not corrected
    order: dict[str, list[str]]  # metric name -> labels of the rows that have a score, the best mean first
    decisive: dict[str, float]  # metric name -> the corrected p-value that its winner is named by
    effects: dict[str, dict[str, statistics.Effect]]  # metric name -> label of a row -> mean of the leader less its own
    barred: dict[str, str]  # metric name -> why its best is no winner, and why it is not tested

    def shut(self, section: Section) -> bool:
        """Whether the declared lead score was tested and has no winner, so that no other column can have one."""
        return (
            section.lead_declared and section.lead is not None and self.decisive.get(section.lead["name"], 0.0) > ALPHA
        )


def rank(section: Section) -> Ranking:
    """Test the best model in every column of the section's tables against each other model in that column.

    A lead score that was declared before anything was scored is tested first, and all others only where it has a
    winner: `statistics.winners`. Columns that are barred are left out, and so are those that show the samples again at
    other counts: what they would claim has been tested already. Rows made elsewhere take part if `competes` says so.
    """
    columns = {}
    rows = [row for row in section.rows if competes(row)]
    for metric in section.tabulated:
        if metric.get("table") == EQUAL:
            continue
        values = {row.label: _values(row, metric["name"]) for row in rows}
        values = {label: found for label, found in values.items() if found}
        if values and metric["better"] != "none":
            columns[metric["name"]] = (metric["better"], values)
    lead = section.lead["name"] if section.lead and section.lead_declared else None
    barred = {name: reason for name, reason in _barred(section).items() if name in columns}
    tested = {name: column for name, column in columns.items() if name not in barred}
    verdict = statistics.winners(tested, alpha=ALPHA, lead=lead)
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
        barred=barred,
    )


def competes(row: Row) -> bool:
    """Whether a row is tested: one made elsewhere has to have the training seeds that a test takes, as models have."""
    return not row.made_elsewhere or len(row.finished) >= statistics.FEWEST_SEEDS


def _barred(section: Section) -> dict[str, str]:
    """Metric name -> why being best in it shows nothing, in words that follow "as"."""
    found: dict[str, str] = {}
    for rule in (_untrained, _corrupted):
        found = rule(section) | found  # of several reasons the first rule's
    return found


def _untrained(section: Section) -> dict[str, str]:
    """The metrics in which a model with its first weights is at least as good as the best trained one, by the means."""
    found = {}
    for metric in section.tabulated:
        name, sign = metric["name"], -1 if metric["better"] == "higher" else 1
        own = [row for row in section.rows if competes(row)]
        trained = [float(np.mean(values)) for row in own if (values := _values(row, name))]
        means = {row.label: own.mean for row in section.rows if (own := row.untrained(name))}
        if trained and (
            as_good := [label for label, mean in means.items() if sign * mean <= min(np.multiply(sign, trained))]
        ):
            found[name] = f"{joined(as_good)} untrained does at least as well as the best trained model"
    return found


def _corrupted(section: Section) -> dict[str, str]:
    """The metrics by which images that were spoilt on purpose, or noise, are better than real ones, at equal counts."""
    references = {reference.kind: reference for reference in section.references}
    found: dict[str, list[str]] = {}
    if (real := references.get("real")) is None:
        return {}
    for metric in section.tabulated:
        name = metric["name"].removesuffix(f" at {EQUAL}")
        for spoilt in (references[kind] for kind in ("blurred", "noised", "noise") if kind in references):
            ours, theirs = (one.metrics.get(metric["name"], {}) for one in (real, spoilt))
            if any(ours.get(field) is None or ours[field] != theirs.get(field) for field in ("n_generated", "n_real")):
                continue
            gain = theirs["value"] - ours["value"]
            if gain > 0 if metric["better"] == "higher" else gain < 0 and metric["better"] == "lower":
                found.setdefault(name, []).append(spoilt.title)
    return {name: f"images that are {joined(titles)} score better than {real.title}" for name, titles in found.items()}


def _ordered(values: dict[str, list[float]], better: str) -> list[str]:
    sign = 1 if better == "lower" else -1
    return sorted(values, key=lambda label: sign * float(np.mean(values[label])))  # stable, like statistics.winner


@dataclass(frozen=True)
class Share:
    """The share, in [0, 1], of a score's variance that comes from the evaluation seed, not from the training seed."""

    value: float
    interval: tuple[float, float]  # exact, 95 %


def sampling_share(row: Row, name: str) -> Share | None:
    """The share with its interval; None below five training seeds with three evaluation seeds, or if nothing varies.

    Fewer seeds say nothing: with three times two runs the interval is from about 1 to 100 %.
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
