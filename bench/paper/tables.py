"""The paper's tables: what it reports and, beside it, what was measured here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.paper import captions
from bench.paper.measured import Line, Part
from bench.paper.plan import Ablation
from bench.paper.reported import Value, reported
from bench.report.content.numerals import NONE, bracketed, plus_minus

SAMPLES = (("IS",), ("FID", "FD"), ("KID",))  # of each the one that the records have
ARROWS = {"lower": " ↓", "higher": " ↑", "none": ""}
BETTER = {"IS": " ↑", "FID": " ↓", "MSE": " ↓", "gradient norm": ""}  # of the reported scores
SYMBOLS = {"steps": "K", "sigma": "sigma", "n_f": "n_f"}
TITLES = {
    "1a": "quality of samples",
    "1b": "reconstruction error",
    "2": "number of Langevin steps K, with its sigma",
    "3a": "standard deviation sigma of the data noise",
    "3b": "width n_f of the energy net",
}


@dataclass(frozen=True)
class Item:
    """One cell: what a reader sees, and the values of its CSV fields."""

    text: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Column:
    header: str
    fields: tuple[str, ...]  # CSV columns
    items: tuple[Item, ...]


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables under one protocol."""

    table: str  # 1a, 1b, 2, 3a, 3b
    number: int  # of the protocol, from 1
    of: int
    columns: tuple[Column, ...]
    caption: tuple[str, ...]  # sentences

    @property
    def name(self) -> str:
        """The stem of its files: table-1a, further protocols table-1a.protocol-2."""
        return f"table-{self.table}" + (f".protocol-{self.number}" if self.number > 1 else "")

    @property
    def title(self) -> str:
        protocol = f" (protocol {self.number} of {self.of})" if self.of > 1 else ""
        return f"Table {self.table}: {TITLES[self.table]}{protocol}"


def comparisons(parts: dict[str, list[Part]]) -> list[PaperTable]:
    """Tables 1a and 1b: a row for each model; `parts` by data set, as `measured.comparison` gives them."""
    every = [part for own in parts.values() for part in own]
    tables = []
    for table, names in (("1a", SAMPLES), ("1b", (("MSE",),))):
        for number in sorted({part.number for part in every}):
            here = {part.dataset: part for part in every if part.number == number}
            columns, of = _comparison(table, names, here), max(part.of for part in every)
            tables.append(PaperTable(table, number, of, columns, tuple(captions.comparison(table, here))))
    return tables


def _comparison(table: str, names: Sequence[tuple[str, ...]], parts: dict[str, Part]) -> tuple[Column, ...]:
    values = reported().of(table)
    rows = dict.fromkeys(value.model for value in values)  # the paper's models first, in its order
    rows |= dict.fromkeys(_model(line) for part in parts.values() for line in part.lines)
    columns = [_labels("model", rows)]
    for dataset in dict.fromkeys([*(value.dataset for value in values), *parts]):
        title = reported().datasets.get(dataset, {}).get("title", dataset)
        theirs = {value.model: value for value in values if value.dataset == dataset}
        if theirs:
            score = next(iter(theirs.values())).score
            columns.append(_reported(f"{title} {score}", score, [theirs.get(key) for key in rows]))
        if dataset in parts:
            lines = {_model(line): line for line in parts[dataset].lines}
            columns += _measured(parts[dataset], [lines.get(key) for key in rows], names, f"{dataset} ")
    return tuple(columns)


def ablations(one: Ablation, parts: list[Part]) -> list[PaperTable]:
    """Table 2, 3a or 3b: a row for each value that the paper or this run has."""
    columns = [_ablation(one, part) for part in parts]
    return [
        PaperTable(one.table, part.number, part.of, own, tuple(captions.ablation(one, part)))
        for part, own in zip(parts, columns, strict=True)
    ]


def _ablation(one: Ablation, part: Part) -> tuple[Column, ...]:
    values = reported().of(one.table)
    rows: list[tuple[float, Line | None]] = []
    new = []  # where the paper's numbers stand, if a place has several lines
    places = {*(getattr(value, one.axis) for value in values), *(_place(one, line) for line in part.lines)}
    for place in sorted(places, reverse=one.table == "3a"):  # the paper's order
        own = [line for line in part.lines if _place(one, line) == place] or [None]
        rows += [(place, line) for line in own]
        new += [place] + [None] * (len(own) - 1)
    lines, symbol = [line for _, line in rows], SYMBOLS[one.axis]
    items = (Item(f"{place:g}", (place,)) for place, _ in rows)
    columns = [Column(symbol, (symbol,), tuple(items))]
    sigmas = {value.steps: value.sigma for value in values}
    if one.axis == "steps":
        columns.append(_numbers("sigma, paper", map(sigmas.get, new)))
    for score in dict.fromkeys(value.score for value in values):
        found = {getattr(value, one.axis): value for value in values if value.score == score}
        columns.append(_reported(score, score, list(map(found.get, new))))
    if one.axis == "steps":
        columns.append(_numbers("sigma, here", (line.point.settings["sigma"] if line else None for line in lines)))
    return (*columns, *_measured(part, lines, (*SAMPLES, ("gradient norm",)), ""))


def _place(one: Ablation, line: Line) -> float:
    assert line.point is not None
    return line.point.settings[one.axis]


def _model(line: Line) -> str:
    return line.row.records[0].model if line.row.records else line.row.label


def _labels(header: str, texts: Iterable[str]) -> Column:
    return Column(header, (header,), tuple(Item(text, (text,)) for text in texts))


def _numbers(header: str, values: Iterable[float | None]) -> Column:
    items = (Item(NONE, (None,)) if value is None else Item(f"{value:g}", (value,)) for value in values)
    return Column(header, (header,), tuple(items))


def _reported(title: str, score: str, values: Sequence[Value | None]) -> Column:
    items = (Item(v.text, (v.value, v.confirmed)) if v else Item(NONE, (None, None)) for v in values)
    name = f"reported: {title}"
    return Column(name + BETTER[score], (name, f"{name}, confirmed"), tuple(items))


def _measured(part: Part, lines: Sequence[Line | None], names: Sequence[tuple[str, ...]], prefix: str) -> list[Column]:
    """A column for each score, the budgets where it has any, and the cells' status."""
    columns = []
    for choice in names:
        metric = example(part, choice)
        label = metric["label"] if metric else choice[-1]
        name = f"measured: {prefix}{label}"
        fields = (f"{name} mean", f"{name} 95% half-width", f"{name} n", f"{name} 95% low", f"{name} 95% high")
        shown = metric["name"] if metric else choice[-1]
        items = tuple(_score(line, shown) for line in lines)
        columns.append(Column(name + (ARROWS[metric["better"]] if metric else ""), fields, items))
        if metric and metric.get("budget") is not None:
            columns.append(_labels(f"{prefix}budget", (_budget(line, shown) for line in lines)))
    statuses = (line.status if line else NONE for line in lines)
    return [*columns, _labels(f"{prefix}cells", statuses)]


def example(part: Part, names: Sequence[str]) -> dict[str, Any] | None:
    """The metric under the first of the names that a record of the part has."""
    metrics = {metric["name"]: metric for record in part.records for metric in record.metrics}
    return next((metrics[name] for name in names if name in metrics), None)


def _score(line: Line | None, name: str) -> Item:
    """Mean ± half-width; for one seed its own interval over images; in place of a score what became of the cells."""
    nothing = (None, None, 0, None, None)
    if line is None:
        return Item(NONE, nothing)
    summary = line.row.score(name)
    if summary is None:
        return Item(NONE if line.row.finished else line.outcome, nothing)
    of = "" if summary.n == line.planned else f" ({summary.n} of {line.planned} seeds)"
    if summary.half is not None:
        low, high = summary.mean - summary.half, summary.mean + summary.half
        return Item(plus_minus(summary) + of, (summary.mean, summary.half, summary.n, low, high))
    interval = next(metric for record in line.row.finished if (metric := record.metric(name)))["interval"]
    low, high = interval or (None, None)
    return Item(bracketed(summary.mean, interval) + of, (summary.mean, None, 1, low, high))


def _budget(line: Line | None, name: str) -> str:
    found = [metric for record in line.row.finished if (metric := record.metric(name))] if line else []
    if not found or found[0].get("budget") is None:
        return NONE
    unit = str(found[0].get("budget_unit") or "")
    return f"{found[0]['budget']:g} {unit.replace('decodes', 'decode') if found[0]['budget'] == 1 else unit}".strip()
