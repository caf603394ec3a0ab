"""Which scores are best beyond chance, and in which columns being best shows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.content import statistics
from bench.report.content.numerals import joined
from bench.report.content.rows import ReferenceRow
from bench.report.content.sections import EQUAL, Section
from bench.report.content.statistics import ALPHA

_CORRUPTED = {"blurred": "blurred images", "noised": "noised images", "noise": "images of noise"}  # kind -> in words


@dataclass(frozen=True)
class Bar:
    """Why being best in a column shows nothing, so that it is not tested and has no winner."""

    by: str  # what wins it: `blurred images`, `noise`, `the untrained ebm`
    reason: str  # in words that follow "as"


@dataclass(frozen=True)
class Ranking(statistics.Winners):
    """The verdict on the tables of one section. Columns are metrics by name, rows are models by label."""

    withheld: dict[str, str]  # column -> row of a winner that is not named, as not all of its runs finished
    order: dict[str, list[str]]  # column -> the rows that have a score, the best mean first
    barred: dict[str, Bar]  # the columns that are not tested because of what wins them
    shut: bool  # whether the declared lead score was tested and has no winner, so that no other column can have one


def rank(section: Section) -> Ranking:
    """Test the best model in every column of the section's tables against each other model in that column.

    A lead score that was declared before anything was scored is tested first, and all others only where it has a
    winner: `statistics.winners`. Columns that are barred are left out, and so are those that show the samples again at
    other counts: what they would claim has been tested already. So are rows that do not compete.
    """
    columns = {}
    rows = [row for row in section.rows if row.competes]
    for metric in section.tabulated:
        values = {row.label: found for row in rows if (found := row.values(metric["name"]))}
        if values and metric["better"] != "none" and metric.get("table") != EQUAL:
            columns[metric["name"]] = (metric["better"], values)
    barred = {name: reason for name, reason in (_corrupted(section) | _untrained(section)).items() if name in columns}
    lead = section.lead["name"] if section.lead and section.lead_declared else None
    found = statistics.winners({name: own for name, own in columns.items() if name not in barred}, lead)
    whole = {row.label for row in section.rows if not row.failed}
    return Ranking(
        **vars(found) | {"best": {name: label for name, label in found.best.items() if label in whole}},
        withheld={name: label for name, label in found.best.items() if label not in whole},
        order={name: statistics.ordered(values, better) for name, (better, values) in columns.items()},
        barred=barred,
        shut=lead is not None and found.decisive.get(lead, 0.0) > ALPHA,
    )


def role(ranking: Ranking, metric: dict[str, Any]) -> str:
    """What a column is good for, in a few words: `ranked`, `describes`, `barred: blurred images win`."""
    if metric["better"] == "none":
        return "describes"
    bar = ranking.barred.get(metric["name"].removesuffix(f" at {EQUAL}"))
    if bar:
        return f"barred: {bar.by} win"
    if metric.get("table") == EQUAL:
        return "not tested again"
    return "ranked, lead score" if metric.get("lead") else "ranked"


def _untrained(section: Section) -> dict[str, Bar]:
    """The metrics in which a model with its first weights is at least as good as the best trained one, by the means."""
    found = {}
    for metric in section.tabulated:
        name, sign = metric["name"], -1 if metric["better"] == "higher" else 1
        rows = [row for row in section.rows if row.competes]
        trained = [sign * float(np.mean(values)) for row in rows if (values := row.values(name))]
        means = {row.label: sign * own.mean for row in section.rows if (own := row.untrained(name))}
        if trained and (as_good := [label for label, mean in means.items() if mean <= min(trained)]):
            names = joined(as_good)
            reason = f"{names} untrained does at least as well as the best trained model"
            found[name] = Bar(f"the first weights of {names}", reason)
    return found


def _corrupted(section: Section) -> dict[str, Bar]:
    """The metrics by which images that were corrupted on purpose, or noise, beat real ones, at equal counts."""
    references = {reference.kind: reference for reference in section.references}
    found: dict[str, Bar] = {}
    if (real := references.get("real")) is None:
        return {}
    for metric in section.tabulated:
        winners = [kind for kind in _CORRUPTED if kind in references and _beats(references[kind], real, metric)]
        if winners:
            titles = joined(references[kind].title for kind in winners)
            reason = f"images that are {titles} score better than {real.title}"
            found[metric["name"].removesuffix(f" at {EQUAL}")] = Bar(joined(map(_CORRUPTED.get, winners)), reason)
    return found


def _beats(corrupted: ReferenceRow, real: ReferenceRow, metric: dict[str, Any]) -> bool:
    """Whether corrupted images have the better score; not if either has none, or counts other images."""
    ours, theirs = (one.metrics.get(metric["name"], {}) for one in (real, corrupted))
    if any(ours.get(field) is None or ours[field] != theirs.get(field) for field in ("n_generated", "n_real")):
        return False
    gain = theirs["value"] - ours["value"]
    return {"higher": gain > 0, "lower": gain < 0}.get(metric["better"], False)
