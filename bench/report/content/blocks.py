"""What the tables show: the columns of a section, parted into blocks that fit a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.report.content.numerals import NONE, bracketed, number, percent, plus_minus
from bench.report.content.ranking import Share, rank, sampling_share
from bench.report.content.sections import Reference, Row, Section, Summary
from bench.results.record import Record

# What says how samples differ from real images, rather than how much: a block of their own.
_VARIETY = ("precision", "recall", "density", "coverage", "copying")
_PATHS = {"": "Interpolation between samples", "real ends": "Interpolation between real images"}
_ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}


@dataclass(frozen=True)
class Cell:
    text: str
    bold: bool = False  # best of its column beyond chance
    key: float | None = None  # the number that the text rounds, where it is one


@dataclass(frozen=True)
class Column:
    """A header, a cell per model, and a cell per reference row, which stand apart below the models."""

    header: str
    cells: list[Cell]
    references: list[Cell]


@dataclass(frozen=True)
class Block:
    """A table with a row per model; all blocks of a section have the same models in the same order."""

    title: str
    columns: list[Column]


def blocks(section: Section) -> list[Block]:
    """Samples, reconstruction, interpolation, diagnostics, the share of variance, cost: those that have a column."""
    best = rank(section).best
    shown = section.tabulated
    samples = _group(shown, "samples")
    variety = [metric for metric in samples if metric["name"] in _VARIETY]
    plain = [metric for metric in samples if metric not in variety]
    table = _Table(section, best)
    status = Column("status", [Cell(row.status) for row in section.rows], [Cell("") for _ in section.references])
    result = [table.block("Samples", plain, _long(plain), [status])]
    short, features = _shortened(variety)
    result.append(table.block(f"Samples: fidelity, variety and copying{features}", variety, short))
    reconstruction = _group(shown, "reconstruction")
    result.append(table.block("Reconstruction", reconstruction, _long(reconstruction)))
    kinds: dict[str, list[dict[str, Any]]] = {}
    for metric in _group(shown, "interpolation"):
        kinds.setdefault(metric["name"].partition(", ")[2], []).append(metric)
    for kind, metrics in kinds.items():
        headers = {metric["name"]: metric["name"].partition(", ")[0] for metric in metrics}
        result.append(table.block(_PATHS.get(kind, f"Interpolation, {kind}"), metrics, headers))
    diagnostics = _group(shown, "diagnostics")
    result.append(table.block("Diagnostics", diagnostics, _long(diagnostics)))
    result.append(_shares(section, [*samples, *reconstruction]))
    result.append(Block("Cost", [_models(section), *_cost(list(section.rows))]))
    return [block for block in result if len(block.columns) > 1]


class _Table:
    """Makes the blocks of scores of one section."""

    def __init__(self, section: Section, best: dict[str, str]):
        self.section, self.best = section, best
        self.rows = list(section.rows)

    def block(
        self, title: str, metrics: list[dict[str, Any]], headers: dict[str, str], more: list[Column] | None = None
    ) -> Block:
        """Columns of scores with their budgets; a reference row where the reference has one of the scores."""
        references = [one for one in self.section.references if any(m["name"] in one.metrics for m in metrics)]
        columns = []
        for metric, budgets in zip(metrics, self._budgets(metrics), strict=True):
            columns.append(self._scores(metric, headers[metric["name"]], references))
            if budgets:
                columns.append(Column("budget", [Cell(budget) for budget in budgets], [Cell(NONE) for _ in references]))
        for column in more or []:
            columns.append(Column(column.header, column.cells, column.references[: len(references)]))
        names = [metric["name"] for metric in metrics]
        labels = [Cell(self.section.reference_label(reference, names)) for reference in references]
        models = Column("model", [Cell(row.label) for row in self.rows], labels)
        return Block(title, [models, *columns])

    def _scores(self, metric: dict[str, Any], header: str, references: list[Reference]) -> Column:
        name = metric["name"]
        cells = [
            Cell(score_text(row, name), bold=self.best.get(name) == row.label, key=_mean(row.score(name)))
            for row in self.rows
        ]
        found = [reference.metrics.get(name) for reference in references]
        own = [Cell(bracketed(one["value"], one["interval"]), key=one["value"]) if one else Cell(NONE) for one in found]
        return Column(header + _ARROWS[metric["better"]], cells, own)

    def _budgets(self, metrics: list[dict[str, Any]]) -> list[list[str]]:
        """The budgets to show after each score: none where the next score has the same ones."""
        budgets = [[budget_text(row, metric["name"]) for row in self.rows] for metric in metrics]
        return [
            own if any(budget != NONE for budget in own) and own != after else []
            for own, after in zip(budgets, [*budgets[1:], []], strict=False)
        ]


def _group(metrics: list[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    return [metric for metric in metrics if metric["group"] == group]


def _long(metrics: list[dict[str, Any]]) -> dict[str, str]:
    return {metric["name"]: metric["label"] for metric in metrics}


def _shortened(metrics: list[dict[str, Any]]) -> tuple[dict[str, str], str]:
    """Headers without the extractor that all labels end in, and that extractor as a part of the block's title."""
    ends = {metric["name"]: re.fullmatch(r"(.+?)\((.+)\)", metric["label"]) for metric in metrics}
    extractors = {end.group(2) for metric in metrics if (end := ends[metric["name"]]) and metric.get("extractor")}
    if len(extractors) != 1:
        return _long(metrics), ""
    (extractor,) = extractors
    headers = _long(metrics) | {name: end.group(1) for name, end in ends.items() if end and end.group(2) == extractor}
    return headers, f" (features of {extractor})"


def _mean(summary: Summary | None) -> float | None:
    return summary.mean if summary else None


def _models(section: Section) -> Column:
    return Column("model", [Cell(row.label) for row in section.rows], [])


def score_text(row: Row, name: str) -> str:
    """A row's score with its interval, and the number of seeds where not all of those that finished have it."""
    summary = row.score(name)
    if summary is not None and summary.n == 1:
        only = next(metric for record in row.finished if (metric := record.metric(name)))
        text = bracketed(only["value"], only["interval"])
    else:
        text = plus_minus(summary)
    return text if summary is None or summary.n == len(row.finished) else f"{text} (n = {summary.n})"


def budget_text(row: Row, name: str) -> str:
    """`50 decodes per image`: what one model's score may cost; a dash where it has no budget."""
    metrics = (record.metric(name) for record in row.finished)
    found = next((metric for metric in metrics if metric and metric.get("budget") is not None), None)
    if found is None:
        return NONE
    unit = str(found.get("budget_unit") or "")
    if found["budget"] == 1:  # "1 decode per image"
        unit = unit.replace("decodes", "decode")
    return f"{number(found['budget'])} {unit}".strip()


def _shares(section: Section, metrics: list[dict[str, Any]]) -> Block:
    headers, features = _shortened(metrics)
    columns = []
    for metric in metrics:
        shares = [sampling_share(row, metric["name"]) for row in section.rows]
        if any(share is not None for share in shares):
            columns.append(Column(headers[metric["name"]], [_share(one) for one in shares], []))
    return Block(f"Share of the variance that sampling alone explains{features}", [_models(section), *columns])


def _share(share: Share | None) -> Cell:
    if share is None:
        return Cell(NONE)
    low, high = share.interval
    return Cell(f"{percent(share.value)} [{percent(low)}, {percent(high)}]", key=share.value)


def _cost(rows: list[Row]) -> list[Column]:
    def column(header: str, cell: Callable[[Row], Cell]) -> Column:
        return Column(header, [cell(row) for row in rows], [])

    def mean(header: str, value: Callable[[Record], float | None]) -> Column:
        summaries = [row.summary(value) for row in rows]
        return Column(header, [Cell(plus_minus(one), key=_mean(one)) for one in summaries], [])

    return [
        column("parameters (trained)", _parameters),
        column("updates", _updates),
        mean("training seconds", lambda record: record.data["training"]["seconds"]),
        column("network evaluations per sample", lambda row: _number(row.fact("network_evaluations_per_sample"))),
        mean("samples/s", lambda record: record.samples_per_second),
    ]


def _parameters(row: Row) -> Cell:
    needed, trained = row.fact("parameters"), row.fact("parameters_trained")
    return Cell(NONE if needed is None else f"{number(needed)} ({number(trained)})", key=needed)


def _updates(row: Row) -> Cell:
    summary = row.summary(lambda record: record.data["training"]["updates"])
    if summary and summary.std:
        return Cell(plus_minus(summary), key=summary.mean)
    return _number(int(summary.mean) if summary else None)


def _number(value: float | None) -> Cell:
    return Cell(number(value), key=value)
