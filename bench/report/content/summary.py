"""The top of the page: what beat what, and with which certainty, in plain words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.report.content.numerals import NONE, bracketed, budget_text, listed, number, plus_minus, score_text
from bench.report.content.ranking import rank
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.content.sentences import TEMPLATES, parted, written
from bench.report.content.statistics import ALPHA


@dataclass(frozen=True)
class Verdict:
    """A section in one sentence, and what a reader must know before believing it."""

    headline: str
    points: tuple[str, ...]


def verdict(section: Section) -> Verdict:
    """The verdict on a section. A model is called better only if the tests of `ranking` support it."""
    lead = section.lead
    if lead is None:
        return Verdict("No run finished: there are no scores.", (*_cells(section),))
    name, ranking, short = lead["name"], rank(section), short_names(section)
    rows = {row.label: row for row in section.rows}
    order = ranking.order.get(name) or [row.label for row in section.rows if row.score(name)]
    p_values = {label: p for label in order[1:] if (p := ranking.p_values.get(name, {}).get(label)) is not None}
    gaps = [(ranking.effects[name][label], label) for label in p_values]
    reasons = {column: bar.reason for column, bar in ranking.barred.items()}

    def by(verdicts: Mapping[str, str]) -> dict[str, list[str]]:
        return parted((found, short[column]) for column, found in verdicts.items())

    headline, *points = written(
        TEMPLATES / "verdict.txt",
        lead=lead,
        ranking=ranking,
        scoreless=any(not row.score(name) for row in section.rows),
        reason=reasons.get(name) or ranking.untested.get(name),
        scores=[f"{label} {score_text(rows[label], name)}" for label in order],
        first=next(iter(order), ""),
        chance=[f"{label} ({_p(p)})" for label, p in p_values.items() if p > ALPHA],
        sure=[f"{label} ({_p(p)})" for label, p in p_values.items()],
        gaps=[f"{bracketed(gap.difference, (gap.low, gap.high))} from {label}" for gap, label in gaps],
        scale={
            section.reference_label(one, [name]): bracketed(own["value"], own["interval"])
            for one in section.references
            if one.kind in ("real", "noise") and (own := one.metrics.get(name))
        },
        undecided=[short[column] for column in ranking.p_values if column not in ranking.best | ranking.withheld],
        best=by(ranking.best),
        withheld=by(ranking.withheld),
        barred=by(reasons),
        untested=by(ranking.untested),
        alpha=ALPHA,
        p=_p,
        differing=_differing(section),
    )
    return Verdict(headline, (*points, *_cells(section)))


_MATCHED = {  # what models of one budget share, in words -> the field of a record
    "dimensions of the latent": "latent_dimensions",
    "parameters that a sample needs": "parameters",
    "parameters trained": "parameters_trained",
    "planned updates": "training.planned_updates",
    "images per update": "training.batch_size",
    "training seconds": "training.seconds",
    "network evaluations per sample": "network_evaluations_per_sample",
}


def _differing(section: Section) -> list[str]:
    """In what the models are not matched: a better score may come from a bigger budget."""
    facts = {what: {row.label: _fact(row, path) for row in section.rows} for what, path in _MATCHED.items()}
    if budgeted := next((one["name"] for one in section.tabulated if one.get("budget") is not None), None):
        own = {row.label: budget_text(row, budgeted) for row in section.rows}
        facts[f"budget of {short_names(section)[budgeted]}"] = own
    differing = []
    for what, found in facts.items():
        told = {label: value for label, value in found.items() if value != NONE}
        if len(set(told.values())) > 1:
            differing.append(f"{what} ({listed(f'{label} {value}' for label, value in told.items())})")
    return differing


def _fact(row: Row, path: str) -> str:
    measured = path == "training.seconds"  # which differs from seed to seed
    return plus_minus(row.summary(path)) if measured else number(row.fact(path))


def _cells(section: Section) -> list[str]:
    """How many cells finished, and the status of every model with a cell that did not."""
    return written(
        TEMPLATES / "cells.txt",
        section=section,
        total=sum(len(row.records) + len(row.absent) for row in section.rows),
        finished=sum(len(row.finished) for row in section.rows),
        others=[f"{row.label}: {row.status}" for row in section.rows if row.absent or row.failed],
    )


def short_names(section: Section) -> dict[str, str]:
    """The name of each score in a list: its label, without the extractor if the name is still unique then."""
    labels = {metric["name"]: metric["label"] for metric in section.tabulated}
    short = {
        one["name"]: re.sub(r"\([^()]*\)$", "", one["label"]) if one.get("extractor") else one["label"]
        for one in section.tabulated
    }
    taken = list(short.values())
    names = {name: text if taken.count(text) == 1 else labels[name] for name, text in short.items()}
    return {name: re.sub(r", (.+)$", r" (\1)", label) for name, label in names.items()}  # commas separate the list


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
