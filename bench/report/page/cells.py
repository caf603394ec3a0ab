"""Every cell of the page: how it stands, and for one with a record its settings, machine and exact command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.content.numerals import NONE, number
from bench.report.content.outcomes import outcome
from bench.report.content.sections import Row, Section, score
from bench.report.page.elements import Entry, Table
from bench.results.record import Record

COLUMNS = ("model", "training seed", "data set", "status", "updates", "training seconds", "lead score")


@dataclass(frozen=True)
class Described:
    """One cell in words. Without a record it has a status and no groups."""

    id: str  # on the page
    dataset: str  # the section's title
    model: str  # the row's label
    seed: int
    status: str
    state: str  # one word, for the look: finished, failed, missing
    message: str = ""
    command: str = ""
    updates: int | None = None
    seconds: float | None = None
    lead: float | None = None
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()  # heading -> (name, value)

    @property
    def title(self) -> str:
        return f"{self.dataset}, {self.model}, training seed {self.seed}"


def described(root: Path, sections: Sequence[Section]) -> list[Described]:
    """All cells by section, row and training seed."""
    found = []
    for section in sections:
        for row in section.rows:
            for _, cell in sorted(
                [*((r.seed, r) for r in row.records), *((a.seed, a) for a in row.absent)], key=_first
            ):
                name = f"cell-{len(found) + 1}"
                if isinstance(cell, Record):
                    found.append(_recorded(name, root, section, row, cell))
                else:
                    found.append(Described(name, section.title, row.label, cell.seed, cell.status, "missing"))
    return found


def table(cells: Sequence[Described]) -> Table:
    """A row for each cell, which leads to its details."""
    rows = [
        (
            Entry(cell.model, link=f"#{cell.id}"),
            Entry(str(cell.seed), cell.seed),
            cell.dataset,
            cell.status,
            Entry(number(cell.updates), cell.updates),
            Entry(number(cell.seconds), cell.seconds),
            Entry(number(cell.lead), cell.lead),
        )
        for cell in cells
    ]
    return Table("Every cell: a model, a training seed and a data set", COLUMNS, tuple(rows))


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _recorded(name: str, root: Path, section: Section, row: Row, record: Record) -> Described:
    data = record.data
    lead = section.lead
    return Described(
        id=name,
        dataset=section.title,
        model=row.label,
        seed=record.seed,
        status=outcome(record),
        state="finished" if record.finished else "failed",
        message=data["message"],
        command=data["command"],
        updates=data["training"]["updates"],
        seconds=data["training"]["seconds"],
        lead=score(record, lead["name"]) if lead else None,
        groups=tuple(_groups(root, record)),
    )


def _groups(root: Path, record: Record) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    data, config = record.data, record.data["config"]
    folder = record.folder.relative_to(root).as_posix() if record.folder.is_relative_to(root) else record.folder.name
    run = {"folder": folder, **{key: data[key] for key in ("profile", "created", "evaluation_seeds")}}
    size = {key: data[key] for key in ("parameters", "parameters_trained", "network_evaluations_per_sample")}
    training = {key: value for key, value in data["training"].items() if key != "last"}
    groups = {
        "Run": run | size | training,
        "Model": config["model"],
        "Data": config["data"],
        "Images": {key: value for key, value in data["data"].items() if key != "notes"},
        "Evaluation": config["evaluation"],
        "Last logged": data["training"].get("last") or {},
        "Throughput": data["throughput"] or {},
        "Environment": _flat(data["environment"]),
    }
    exact = {"Model", "Data", "Evaluation"}  # settings, in full precision; of what was measured six digits are enough
    return [
        (head, tuple((str(name), _text(value, head in exact)) for name, value in facts.items()))
        for head, facts in groups.items()
        if facts
    ]


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """The environment with its packages side by side."""
    packages = facts.get("packages")
    rest = {key: value for key, value in facts.items() if key != "packages"}
    return rest | (packages if isinstance(packages, dict) else {})


def _text(value: Any, exact: bool) -> str:
    if isinstance(value, str):
        return value or NONE
    if isinstance(value, float):
        return repr(value) if exact else f"{value:.6g}"
    if isinstance(value, list):
        return f"[{', '.join(_text(one, exact) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)
