"""The paper's tables: what it reports, beside what was measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.paper import captions
from bench.paper.measured import example, in_place_of_score, planned
from bench.paper.plan import Ablation
from bench.paper.reported import Value, reported
from bench.report.content.numerals import NONE, budget_text, estimate
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.tables import csv, latex, markdown
from bench.report.tables.model import Cell, Column, Table
from bench.report.tables.scores import ARROWS
from bench.storage.files import write_text

FOLDER = "tables"
SAMPLES = (("IS",), ("FID", "FD"), ("KID",))  # of each group, the one that the records have
BETTER = {"IS": "higher", "FID": "lower", "MSE": "lower", "gradient norm": "none"}  # of the reported scores
TITLES = {
    "1a": "quality of samples",
    "1b": "reconstruction error",
    "2": "number of Langevin steps K, with its sigma",
    "3a": "standard deviation sigma of the data noise",
    "3b": "width n_f of the energy net",
}
Key = str | float  # of a table's row: a model, or the place of a point


def write(out: Path, tables: list[Table]) -> list[Path]:
    """Write OUT/tables/table-*.csv, .md and .tex, remove those of protocols that are gone, and return the paths."""
    written = []
    for table in tables:
        caption = latex.sentences([f"{table.title}.", *table.notes])
        forms = {
            "csv": csv.render(csv.lines_of(table)),
            "md": markdown.render(table, level=2) + "\n",
            "tex": f"{latex.PREAMBLE}\n{latex.float_of([table], caption, f'tab:{table.name}', titled=False)}\n",
        }
        for ending, text in forms.items():
            written.append(out / FOLDER / f"{table.name}.{ending}")
            write_text(written[-1], text)
    for path in (out / FOLDER).glob("table-*"):
        if path not in written:
            path.unlink()
    return written


def comparisons(parts: dict[str, list[Section]]) -> list[Table]:
    """Tables 1a and 1b: a row for each model; `parts` by data set, as `measured.comparison` gives them."""
    every = [part for own in parts.values() for part in own]
    tables = []
    for table, names in (("1a", SAMPLES), ("1b", (("MSE",),))):
        for number in sorted({part.number for part in every}):
            here = {part.dataset: part for part in every if part.number == number}
            columns, notes = _comparison(table, names, here), captions.comparison(table, here)
            tables.append(_table(table, number, max(part.of for part in every), columns, notes))
    return tables


def ablations(one: Ablation, parts: list[Section]) -> list[Table]:
    """Table 2, 3a or 3b, with a row for each value that the paper or this run has."""
    return [
        _table(one.table, part.number, part.of, _ablation(one, part), captions.ablation(one, part)) for part in parts
    ]


def _table(table: str, number: int, of: int, columns: list[Column], notes: list[str]) -> Table:
    """One of the paper's tables under one protocol; files of further protocols are named table-1a.protocol-2."""
    protocol = f" (protocol {number} of {of})" if of > 1 else ""
    name = f"table-{table}" + (f".protocol-{number}" if number > 1 else "")
    return Table(f"Table {table}: {TITLES[table]}{protocol}", columns, tuple(notes), name)


def _comparison(table: str, names: Sequence[tuple[str, ...]], parts: dict[str, Section]) -> list[Column]:
    values = reported().of(table)
    keys = list(dict.fromkeys(value.model for value in values))  # the paper's models first, in its order
    keys += dict.fromkeys(row.label for part in parts.values() for row in part.rows if row.label not in keys)
    columns = [_texts("model", keys)]
    for dataset in dict.fromkeys([*(value.dataset for value in values), *parts]):
        title = reported().datasets.get(dataset, {}).get("title", dataset)
        theirs = {value.model: value for value in values if value.dataset == dataset}
        columns += _reported(keys, theirs, f"{title} ")
        if dataset in parts:
            rows = {row.label: row for row in parts[dataset].rows}
            columns += _measured(parts[dataset], [rows.get(key) for key in keys], names, f"{dataset} ")
    return columns


def _ablation(one: Ablation, part: Section) -> list[Column]:
    values = reported().of(one.table)
    here = {point.settings[one.axis]: (point, row) for point, row in zip(one.points, part.rows, strict=True)}
    places = sorted(
        {*(getattr(value, one.axis) for value in values), *here}, reverse=one.table == "3a"
    )  # as in the paper
    found = [here.get(place) for place in places]
    columns = [_numbers(one.symbol, places)]
    if one.axis == "steps":
        columns.append(_numbers("sigma, paper", map({value.steps: value.sigma for value in values}.get, places)))
    for score in dict.fromkeys(value.score for value in values):
        columns += _reported(places, {getattr(value, one.axis): value for value in values if value.score == score}, "")
    if one.axis == "steps":
        columns.append(_numbers("sigma, here", (pair and pair[0].settings["sigma"] for pair in found)))
    return [*columns, *_measured(part, [pair and pair[1] for pair in found], (*SAMPLES, ("gradient norm",)), "")]


def _texts(header: str, texts: Iterable[str]) -> Column:
    return Column(header, [Cell(text) for text in texts])


def _numbers(header: str, values: Iterable[float | None]) -> Column:
    return Column(header, [Cell(NONE if x is None else f"{x:g}", x, fields={header: x}) for x in values])


def _reported(keys: Iterable[Key], values: Mapping[Key, Value], prefix: str) -> list[Column]:
    """The column of one reported score; none where the paper has no values."""
    if not values:
        return []
    score = next(iter(values.values())).score
    name, cells = f"reported: {prefix}{score}", []
    for value in map(values.get, keys):
        text, number, confirmed = (value.text, value.value, value.confirmed) if value else (NONE, None, None)
        cells.append(Cell(text, number, fields={name: number, f"{name}, confirmed": confirmed}))
    return [Column(name + ARROWS[BETTER[score]], cells)]


def _measured(part: Section, rows: Sequence[Row | None], names: Sequence[tuple[str, ...]], prefix: str) -> list[Column]:
    """A column for each score, one for its budgets if it has any, and the cells' status."""
    columns = []
    for choice in names:
        metric = example(part, choice) or {"name": choice[-1], "label": choice[-1], "better": "none"}
        header, name = f"measured: {prefix}{metric['label']}", metric["name"]
        columns.append(Column(header + ARROWS[metric["better"]], [_score(row, name, header) for row in rows]))
        if metric.get("budget") is not None:
            columns.append(_texts(f"{prefix}budget", (budget_text(row, name) if row else NONE for row in rows)))
    return [*columns, _texts(f"{prefix}cells", (row.status if row else NONE for row in rows))]


def _score(row: Row | None, name: str, header: str) -> Cell:
    """Mean ± half-width; for one seed, its interval over images; without a score, what happened to the cells."""
    numbers: tuple[Any, ...] = (None, None, 0, None, None)
    if row is None or (summary := row.score(name)) is None:
        text = NONE if row is None or row.finished else in_place_of_score(row)
    else:
        of = "" if summary.n == planned(row) else f" ({summary.n} of {planned(row)} seeds)"
        text = estimate(summary) + of
        numbers = (summary.mean, summary.half, summary.n, *(summary.interval or (None, None)))
    fields = ("mean", "95% half-width", "n", "95% low", "95% high")
    return Cell(text, numbers[0], fields={f"{header} {one}": x for one, x in zip(fields, numbers, strict=True)})
