"""The top of the page: what beat what, and with which certainty, in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bench.report.content.numerals import (
    NONE,
    bracketed,
    budget_text,
    count,
    joined,
    listed,
    number,
    plus_minus,
    score_text,
)
from bench.report.content.ranking import Ranking, rank
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.content.statistics import ALPHA


@dataclass(frozen=True)
class Verdict:
    """A section in one sentence, and what a reader must know before believing it."""

    headline: str
    points: tuple[str, ...]


def verdict(section: Section) -> Verdict:
    """The verdict on a section. A model is called better only if the tests of `ranking` support it."""
    if section.lead is None:
        return Verdict("No run finished: there are no scores.", (_cells(section),))
    ranking = rank(section)
    points = (_means(section, ranking), *_tested(section, ranking), *_unequal(section), _cells(section))
    return Verdict(_headline(section, ranking), points)


def _headline(section: Section, ranking: Ranking) -> str:
    lead = section.lead
    assert lead is not None
    name, label = lead["name"], lead["label"]
    if lead["better"] == "none":
        return f"{label} describes and does not rank: no winner can be named."
    if best := ranking.best.get(name):
        scoreless = any(not row.score(name) for row in section.rows)
        return f"{best} is better than every other model{' that has' if scoreless else ' in'} the lead score, {label}."
    if kept := ranking.withheld.get(name):
        return f"No winner can be named in the lead score, {label}: {kept} is ahead, but not all of its runs finished."
    if len(ranking.order.get(name, [])) < 2:
        return f"Only one model has the lead score, {label}: there is nothing to compare it with."
    bar = ranking.barred.get(name)
    reason = bar.reason if bar else ranking.untested.get(name)
    return f"No winner can be named in the lead score, {label}{f': {reason}' if reason else ''}."


def _means(section: Section, ranking: Ranking) -> str:
    """The lead score of every model, best first; over which models the best one's lead is real; the references."""
    lead = section.lead
    assert lead is not None
    name = lead["name"]
    order = ranking.order.get(name) or [row.label for row in section.rows if row.score(name)]
    rows = {row.label: row for row in section.rows}
    listed = "; ".join(f"{label} {score_text(rows[label], name)}" for label in order)
    arrow = "" if lead["better"] == "none" else f" ({lead['better']} is better)"
    sentences = [f"{lead['label']}{arrow}: {listed}."]
    if p_values := ranking.p_values.get(name):
        others = {label: p_values[label] for label in order[1:]}
        sentences.append(_against(order[0], others, ranking.decisive.get(name, 0.0)))
        gaps = {label: ranking.effects[name][label] for label in order[1:]}
        told = [f"{bracketed(gap.difference, (gap.low, gap.high))} from {label}" for label, gap in gaps.items()]
        sentences.append(f"Its mean differs by {joined(told)} (95 % intervals of each difference by itself).")
    for reference in (one for one in section.references if one.kind in ("real", "noise")):
        if own := reference.metrics.get(name):
            value = bracketed(own["value"], own["interval"])
            sentences.append(f"For scale, {section.reference_label(reference, [name])}: {value}.")
    return " ".join(sentences)


def _against(best: str, p_values: dict[str, float], decisive: float) -> str:
    """The lead over all others, or the models over which it may be chance. A lead over only some was not tested."""
    chance = [f"{label} ({_p(p)})" for label, p in p_values.items() if p > ALPHA]
    if chance:
        return f"{best} has the best mean, but chance alone could explain its lead over {joined(chance)}."
    sure = joined(f"{label} ({_p(p)})" for label, p in p_values.items())
    found = f"{best} has the best mean, and chance hardly explains its lead over {sure}"
    if decisive <= ALPHA:
        return f"{found}."
    return f"{found} where that is the only test; among as many tests as there are columns it could ({_p(decisive)})."


def _tested(section: Section, ranking: Ranking) -> list[str]:
    """Which model won which scores, where no winner can be named, what was not tested, and how certain this is."""
    names = short_names(section)
    lines = [
        f"{label} is better than every other model in {joined(scores)}."
        for label, scores in _parted(ranking.best, names).items()
    ]
    if undecided := [names[name] for name in ranking.p_values if name not in ranking.best | ranking.withheld]:
        lines.append(
            f"No winner in {joined(undecided)}: no model is shown to be better than every other. "
            "That does not show them to be equal; few seeds find large differences only."
            + (" Without a winner in the lead score no other score can have one." if ranking.shut else "")
        )
    for label, scores in _parted(ranking.withheld, names).items():
        lines.append(
            f"{label} is ahead in {joined(scores)}, but not all of its runs finished: its mean is one over survivors, "
            "and no winner is named."
        )
    for reason, scores in _parted({name: bar.reason for name, bar in ranking.barred.items()}, names).items():
        lines.append(f"No winner is named in {joined(scores)}, as {reason}.")
    for reason, scores in _parted(ranking.untested, names).items():
        lines.append(f"Not tested, as there are {reason}: {', '.join(scores)}.")
    if ranking.comparisons:
        lines.append(
            f"Certainty: {ranking.test} over {count(ranking.comparisons, 'column')} of means over training seeds. "
            f"The chance that luck alone makes even one model better than every other is at most {100 * ALPHA:.0f} %, "
            "if the scores of a model's seeds are normally distributed."
        )
    return lines


def _parted(verdicts: dict[str, str], names: dict[str, str]) -> dict[str, list[str]]:
    """Verdict -> the names of the scores that share it."""
    found: dict[str, list[str]] = {}
    for name, verdict in verdicts.items():
        found.setdefault(verdict, []).append(names[name])
    return found


def _unequal(section: Section) -> list[str]:
    """In what the models are not matched: a better score may come from a bigger budget."""
    rows = [row for row in section.rows if row.records]
    facts: list[tuple[str, Callable[[Row], str]]] = [
        ("dimensions of the latent", lambda row: number(row.fact("latent_dimensions"))),
        ("parameters that a sample needs", lambda row: number(row.fact("parameters"))),
        ("parameters trained", lambda row: number(row.fact("parameters_trained"))),
        ("planned updates", lambda row: number(row.fact("training")["planned_updates"])),
        ("images per update", lambda row: number(row.fact("training")["batch_size"])),
        ("training seconds", lambda row: plus_minus(row.summary(lambda one: one.data["training"]["seconds"]))),
        ("network evaluations per sample", lambda row: number(row.fact("network_evaluations_per_sample"))),
    ]
    budgeted = next((one["name"] for one in section.tabulated if one.get("budget") is not None), None)
    if budgeted:
        facts.append((f"budget of {short_names(section)[budgeted]}", lambda row: budget_text(row, budgeted)))
    differing = []
    for what, text in facts:
        told = {row.label: value for row in rows if (value := text(row)) != NONE}
        if len(set(told.values())) > 1:
            differing.append(f"{what} ({', '.join(f'{label} {value}' for label, value in told.items())})")
    return [f"The models are not matched; they differ in {'; '.join(differing)}."] if differing else []


def _cells(section: Section) -> str:
    """How many cells finished, and the status of every model with a cell that did not."""
    total = sum(len(row.records) + len(row.absent) for row in section.rows)
    finished = sum(len(row.finished) for row in section.rows)
    seeds = f"training seeds {listed(section.seeds)}"
    if len(section.seeds) == 1:
        seeds = f"one training seed, {section.seeds[0]}, which says nothing of how another would do"
    rows = count(len(section.rows), "row")
    text = f"Cells: {finished} of {total} finished, in {rows} of the tables; {seeds}."
    others = [f"{row.label}: {row.status}" for row in section.rows if row.absent or row.failed]
    return f"{text} {'; '.join(others)}." if others else text


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
