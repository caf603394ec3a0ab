"""What was measured for a plan: sections whose rows are models (Table 1) or points of an ablation, some without cells.

A row holds the records of the planned training seeds under one protocol; `absent` are the planned cells that have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.registry import label
from bench.paper.plan import MAIN, MODEL, Ablation, Plan
from bench.report.content.outcomes import Absent
from bench.report.content.rows import Row
from bench.report.content.sections import Section, split
from bench.results.cell_folder import CellFolder, read_all
from bench.results.record import Record
from bench.results.status import status_text

Records = dict[str, list[Record]]  # results folder under OUT -> its records


Wanted = tuple[str, str, str, list[Record]]  # a planned row: its label, model and folder under OUT, and its records


def read(out: Path, plan: Plan) -> Records:
    """All records of the run, by results folder. UserError for a damaged record."""
    return {folder: read_all(out / folder) for folder in plan.folders}


def protocols(records: Records) -> list[Section]:
    """All records of the run, divided by data set and protocol: a protocol has the same number in all tables."""
    return split([record for own in records.values() for record in own])


def comparison(out: Path, plan: Plan, records: Records, sections: Sequence[Section]) -> dict[str, list[Section]]:
    """Table 1: for each data set, in the plan's order, a section per protocol, with a row for each model."""
    found = {}
    for dataset in (_label(asked, records[MAIN]) for asked in plan.datasets):
        own = [record for record in records[MAIN] if record.dataset == dataset]
        models = [label(name) for name in plan.models]
        wanted = [(model, model, MAIN, [record for record in own if record.model == model]) for model in models]
        found[dataset] = _sections(out, dataset, wanted, plan.seeds, sections)
    return found


def ablation(out: Path, one: Ablation, records: Records, sections: Sequence[Section]) -> list[Section]:
    """Tables 2, 3a and 3b: a section per protocol, with a row for each point, in their order and named by folder."""
    dataset = _label(one.dataset, [record for point in one.points for record in records[point.folder]])
    wanted = []
    for folder in (point.folder for point in one.points):
        own = [r for r in records[folder] if (r.dataset, r.model) == (dataset, MODEL) and r.seed in one.seeds]
        wanted.append((folder, MODEL, folder, own))
    return _sections(out, dataset, wanted, one.seeds, sections)


def planned(row: Row) -> int:
    """The number of training seeds of a row."""
    return len(row.records) + len(row.absent)


def in_place_of_score(row: Row) -> str:
    """`not run`, `diverged`: how all cells of a row ended; the whole status if they differ."""
    count, _, rest = row.status.partition(" ")
    return rest.partition(" at update")[0] if count == str(planned(row)) else row.status


def example(section: Section, names: Sequence[str]) -> dict[str, Any] | None:
    """The metric with the first of the names that a record of the section has."""
    metrics = {metric["name"]: metric for metric in section.metrics}
    return next((metrics[name] for name in names if name in metrics), None)


def _sections(
    out: Path, dataset: str, wanted: list[Wanted], seeds: Sequence[int], sections: Sequence[Section]
) -> list[Section]:
    """One for each protocol of any of the wanted records; without any, one without records."""
    numbers = {record.path: section.number for section in sections for record in section.records}
    every = {numbers[record.path] for *_, own in wanted for record in own}
    shown = [section for section in sections if section.dataset == dataset and section.number in every]
    parts = []
    for section in shown or [Section(dataset, 1, 1, ())]:
        rows = []
        for name, model, folder, own in wanted:
            here = tuple(record for record in own if numbers[record.path] == section.number)
            status = {record.seed: f"under protocol {numbers[record.path]}" for record in own}
            for seed in (seed for seed in seeds if seed not in status):
                status[seed] = status_text(CellFolder(out / folder, dataset, model, seed).live_status())
            missing = [seed for seed in seeds if seed not in {record.seed for record in here}]
            rows.append(Row(name, here, tuple(Absent(dataset, model, seed, status[seed]) for seed in missing)))
        parts.append(Section(dataset, section.number, section.of, tuple(rows)))
    return parts


def _label(asked: str, records: list[Record]) -> str:
    """The data set's label, from the records: the label of folder:PATH depends on more than its text."""
    return next((r.dataset for r in records if r.data["config"]["data"].get("source") == asked), asked)
