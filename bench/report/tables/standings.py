"""The tables of a leaderboard: the places in one section, by its lead score, and the list of sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.report.content import statistics
from bench.report.content.numerals import NONE, bracketed, count, listed, number, once, score_text
from bench.report.content.ranking import Ranking, rank
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.content.summary import verdict
from bench.report.tables.model import Cell, Table
from bench.report.tables.scores import ARROWS

_HEADERS = ("behind the leader", "p, not corrected", "training seeds", "parameters")
_COST = ("network evaluations per sample", "training seconds", "samples/s", "results folder")


def standings(section: Section, origin: Mapping[Path, str]) -> Table:
    """A row for each model, the best mean of the lead score first; `origin` names the results folder of a record.

    Below those that are ranked come rows made elsewhere that no test includes, by their score, and rows without one.
    """
    lead = section.lead
    if lead is None:
        rows = [(NONE, row.label, row.status) for row in section.rows]
        return Table.of_rows("Standings", ("place", "model", "status"), rows)
    ranking, name = rank(section), lead["name"]
    ranked = ranking.order.get(name, [])
    label = {row.label: row for row in section.rows}
    sign = -1 if lead["better"] == "higher" else 1
    others = [row for row in section.rows if row.label not in ranked]
    others.sort(key=lambda row: sign * summary.mean if (summary := row.score(name)) else float("inf"))
    rows = [_row(section, label[one], str(place), ranking, origin) for place, one in enumerate(ranked, start=1)]
    rows += [_row(section, row, NONE, ranking, origin) for row in others]
    notes = [
        "Places are by the mean of the lead score. Behind the leader: the difference of the means, with its 95 % "
        "interval where both have two training seeds or more; p is of Welch's test for that pair alone.",
        verdict(section).headline,
    ]
    if any(not row.competes for row in section.rows):
        notes.append("Rows without a place were made elsewhere, or have no score: no test includes them.")
    headers = ("place", "model", lead["label"] + ARROWS[lead["better"]], *_HEADERS, *_COST)
    return Table.of_rows("Standings", headers, rows, notes=tuple(notes))


def _row(section: Section, row: Row, place: str, ranking: Ranking, origin: Mapping[Path, str]) -> list[str | Cell]:
    assert section.lead is not None
    name = section.lead["name"]
    p = ranking.p_values.get(name, {}).get(row.label)
    return [
        Cell(place, float(place) if place != NONE else None),
        row.label,
        Cell.mean(row.score(name), score_text(row, name), bold=ranking.best.get(name) == row.label),
        _behind(section, name, row, ranking) if place not in (NONE, "1") else Cell(NONE),
        Cell(NONE if p is None else "< 0.0001" if p < 1e-4 else f"{p:.2g}", p),
        Cell.of(len(row.finished)),
        Cell.of(row.fact("parameters")),
        Cell.of(row.fact("network_evaluations_per_sample")),
        Cell.mean(row.summary("training.seconds")),
        Cell.mean(row.summary("throughput.samples_per_second")),
        listed(once(origin[record.path] for record in row.records)),
    ]


def _behind(section: Section, name: str, row: Row, ranking: Ranking) -> Cell:
    """How much worse than the leader, as a number above 0, with its interval where both have two seeds."""
    first = next(one for one in section.rows if one.label == ranking.order[name][0])
    worse, better = row.values(name), first.values(name)
    if float(np.mean(worse)) < float(np.mean(better)):  # higher is better
        worse, better = better, worse
    if min(len(worse), len(better)) < 2:
        return Cell.of(float(np.mean(worse) - np.mean(better)))
    gap = statistics.effect(worse, better)
    return Cell(bracketed(gap.difference, (gap.low, gap.high)), gap.difference)


def protocols(sections: Sequence[Section], links: Sequence[str]) -> Table:
    """A row for each section, with a link to its page: what tells it from others, and who leads there."""
    rows = []
    for section, link in zip(sections, links, strict=True):
        samples = next((one for one in section.metrics if one["group"] == "samples"), {})
        counts = [number(samples.get(field)) for field in ("n_generated", "n_real")]
        features = f"{samples['extractor']}, {samples['resize']} px" if samples.get("extractor") else NONE
        rows.append(
            [
                Cell(section.title, link=link),
                count(len(section.rows), "model"),
                f"{counts[0]} against {counts[1]}" if samples else NONE,
                features,
                section.records[0].data["environment"]["device"],
                verdict(section).headline,
            ]
        )
    headers = ("data set and protocol", "models", "images", "features", "device", "lead score")
    return Table.of_rows("Protocols", headers, rows)
