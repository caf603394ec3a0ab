"""Every cell on the page: how it ended and, if it has a record, its settings, machine and exact command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.content.numerals import NONE, number
from bench.report.content.outcomes import Absent, outcome
from bench.report.content.rows import Row
from bench.report.content.sections import Section
from bench.report.tables.model import Cell, Table
from bench.results.record import Record

_HEADERS = ("model", "training seed", "data set", "status", "updates", "training seconds", "lead score")
_EXACT = ("Model", "Training", "Data", "Evaluation")  # settings, in full; six digits are enough for measured values
Facts = dict[str, str]


@dataclass(frozen=True)
class CellDetails:
    """One cell in words; without a record it has only a status."""

    id: str  # on the page
    section: Section
    row: Row
    cell: Record | Absent

    @property
    def record(self) -> Record | None:
        return self.cell if isinstance(self.cell, Record) else None

    @property
    def title(self) -> str:
        return f"{self.section.title}, {self.row.label}, training seed {self.cell.seed}"

    @property
    def status(self) -> str:
        return outcome(self.cell) if isinstance(self.cell, Record) else self.cell.status

    @property
    def state(self) -> str:
        """One word, which the style sheet uses."""
        return "missing" if self.record is None else "finished" if self.record.finished else "failed"

    def groups(self, root: Path) -> dict[str, Facts]:
        """Heading -> name -> value; `root` is the results folder."""
        if self.record is None:
            return {}
        data, config, folder = self.record.data, self.record.data["config"], self.record.folder
        names = ("profile", "created", "evaluation_seeds", "parameters", "parameters_trained")
        packages = data["environment"].get("packages")
        groups = {
            "Run": {"folder": folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name}
            | {name: data[name] for name in (*names, "network_evaluations_per_sample")}
            | _without(data["training"], "last"),
            "Model": config["model"],
            "Training": config.get("training") or {},
            "Data": config["data"],
            "Images": _without(data["data"], "notes"),
            "Evaluation": config["evaluation"],
            "Last logged": data["training"].get("last") or {},
            "Throughput": data["throughput"] or {},
            "Environment": _without(data["environment"], "packages") | (packages if isinstance(packages, dict) else {}),
        }
        return {
            head: {str(name): _text(value, head in _EXACT) for name, value in facts.items()}
            for head, facts in groups.items()
            if facts
        }


def details(sections: Sequence[Section]) -> list[CellDetails]:
    """All cells by section, row and training seed."""
    rows = [(section, row) for section in sections for row in section.rows]
    found = []
    for section, row in rows:
        found += [(section, row, cell) for cell in sorted([*row.records, *row.absent], key=lambda cell: cell.seed)]
    return [CellDetails(f"cell-{number}", *one) for number, one in enumerate(found, start=1)]


def table(cells: Sequence[CellDetails]) -> Table:
    """A row for each cell, with a link to its details."""
    return Table.of_rows("Every cell: a model, a training seed and a data set", _HEADERS, map(_row, cells))


def _row(one: CellDetails) -> list[str | Cell]:
    record, lead = one.record, one.section.lead
    training = record.data["training"] if record else {}
    score = record.metric(lead["name"]) if record and lead else None
    numbers = (training.get("updates"), training.get("seconds"), score["value"] if score else None)
    return [
        Cell(one.row.label, link=f"#{one.id}"),
        Cell(str(one.cell.seed), one.cell.seed),
        one.section.title,
        one.status,
        *(Cell(number(value), value) for value in numbers),
    ]


def _without(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != name}


def _text(value: Any, exact: bool) -> str:
    if value is None or isinstance(value, str):
        return value or NONE
    if isinstance(value, float):
        return repr(value) if exact else f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(_text(one, exact) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)
