"""The tables of a section as a reader sees them: its scores, divided into tables that fit a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bench.report.content.numerals import NONE, bracketed, budget_text, estimate, number, score_text
from bench.report.content.ranking import Ranking, rank, role
from bench.report.content.rows import Row
from bench.report.content.sections import EQUAL, Section
from bench.report.content.summary import short_names
from bench.report.tables.model import Cell, Column, Table

_PATHS = {"": "Interpolation between samples", "real ends": "Interpolation between real images"}
_COSTS = ["model", "parameters (trained)", "updates", "training seconds", "network evaluations per sample", "samples/s"]
ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}
Metrics = list[dict[str, Any]]


def tables(section: Section) -> list[Table]:
    """The tables that have a column: samples, reconstruction, interpolation, diagnostics, cost.

    All of them have a row for each model, in the same order.
    """
    groups: dict[str, Metrics] = {}
    for metric in section.tabulated:
        groups.setdefault(metric["group"], []).append(metric)
    samples, reconstruction = groups.get("samples", []), groups.get("reconstruction", [])
    variety = [metric for metric in samples if metric.get("table") == "variety"]
    again = [metric for metric in samples if metric.get("table") == EQUAL]
    samples = [metric for metric in samples if metric not in again]
    status = [Cell(row.status) for row in section.rows]
    features, short, ranking = _features(variety), short_names(section), rank(section)
    found = [
        _scores(section, ranking, "Samples", [metric for metric in samples if metric not in variety], status=status),
        _scores(
            section,
            ranking,
            f"Samples: fidelity, variety and memorization{features}",
            variety,
            short if features else None,
        ),
        _scores(section, ranking, *_equal(again)),
        _scores(section, ranking, "Reconstruction", reconstruction, dimensions=True),
    ]
    kinds: dict[str, Metrics] = {}
    for metric in groups.get("interpolation", []):
        kinds.setdefault(metric["name"].partition(", ")[2], []).append(metric)
    for kind, metrics in kinds.items():
        headers = {metric["name"]: metric["name"].partition(", ")[0] for metric in metrics}
        found.append(_scores(section, ranking, _PATHS.get(kind, f"Interpolation, {kind}"), metrics, headers))
    found.append(_scores(section, ranking, "Diagnostics", groups.get("diagnostics", [])))
    found.append(Table.of_rows("Cost", _COSTS, map(_costs, section.rows)))
    return [table for table in found if len(table.columns) > 1]


def _scores(
    section: Section,
    ranking: Ranking,
    title: str,
    metrics: Metrics,
    headers: dict[str, str] | None = None,  # where they are not the labels
    status: Sequence[Cell] = (),
    dimensions: bool = False,  # show the latents'
) -> Table:
    """Scores with their budgets; a row below for each reference and each untrained model that has one of them."""
    names = [metric["name"] for metric in metrics]
    references = [one for one in section.references if any(name in one.metrics for name in names)]
    untrained = [row for row in section.rows if any(row.untrained(name) for name in names)]
    below = [section.reference_label(one, names) for one in references]
    below += [f"{row.label}, untrained" for row in untrained]
    columns = [Column("model", [Cell(row.label) for row in section.rows], [Cell(label) for label in below])]
    if dimensions and any(row.fact("latent_dimensions") for row in section.rows):
        own, first = ([Cell.of(row.fact("latent_dimensions")) for row in rows] for rows in (section.rows, untrained))
        columns.append(Column("latent dimensions", own, [*(Cell(NONE) for _ in references), *first]))
    for metric, budgets in zip(metrics, _budgets(section, names), strict=True):
        name = metric["name"]
        cells = [
            Cell.mean(row.score(name), score_text(row, name), bold=ranking.best.get(name) == row.label)
            for row in section.rows
        ]
        found = [reference.metrics.get(name) for reference in references]
        own = [Cell(bracketed(one["value"], one["interval"]), one["value"]) if one else Cell(NONE) for one in found]
        own += [Cell.mean(first, estimate(first)) for first in (row.untrained(name) for row in untrained)]
        header = headers[name] if headers else metric["label"]
        columns.append(Column(header + ARROWS[metric["better"]], cells, own, role(ranking, metric)))
        if budgets:
            columns.append(Column("budget", [Cell(budget) for budget in budgets], [Cell(NONE) for _ in below]))
    if status:
        columns.append(Column("status", list(status), [Cell() for _ in below]))
    return Table(title, columns)


def _equal(metrics: Metrics) -> tuple[str, Metrics, dict[str, str]]:
    """Title, scores and headers of the table of equal counts: of each its name alone."""
    if not metrics:
        return "", [], {}
    made, real = (number(metrics[0].get(field)) for field in ("n_generated", "n_real"))
    title = f"Samples at equal counts ({made} images against {real} real ones in every row)"
    return title, metrics, {one["name"]: one["name"].removesuffix(f" at {EQUAL}") for one in metrics}


def _budgets(section: Section, names: list[str]) -> list[list[str]]:
    """The budgets to show after each score; none if the next score has the same ones."""
    budgets = [[budget_text(row, name) for row in section.rows] for name in names]
    return [
        own if any(budget != NONE for budget in own) and own != after else []
        for own, after in zip(budgets, [*budgets[1:], []], strict=False)
    ]


def _features(metrics: Metrics) -> str:
    """The extractor in which the labels end, as an addition to the table's title; empty where there are several."""
    ends = (re.search(r"\((.+)\)$", one["label"]) for one in metrics if one.get("extractor"))
    found = {end.group(1) for end in ends if end}
    return f" (features of {found.pop()})" if len(found) == 1 else ""


def _costs(row: Row) -> list[str | Cell]:
    needed, trained = row.fact("parameters"), row.fact("parameters_trained")
    updates = row.summary("training.updates")
    return [
        row.label,
        Cell(NONE if needed is None else f"{number(needed)} ({number(trained)})", needed),
        Cell.mean(updates) if updates and updates.std else Cell.of(updates and int(updates.mean)),
        Cell.mean(row.summary("training.seconds")),
        Cell.of(row.fact("network_evaluations_per_sample")),
        Cell.mean(row.summary("throughput.samples_per_second")),
    ]
