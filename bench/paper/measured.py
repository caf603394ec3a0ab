"""What was measured for a plan: rows of records, by model or point, each with its missing cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.registry import label
from bench.paper.plan import MAIN, MODEL, Ablation, Plan, Point
from bench.report.content.outcomes import Absent
from bench.report.content.sections import Row, Section, split
from bench.results.cell_folder import CellFolder, read_all
from bench.results.record import Record
from bench.results.status import status_text

Records = dict[str, list[Record]]  # results folder under OUT -> its records


@dataclass(frozen=True)
class PaperRow:
    """A model (Table 1) or a point (ablations) under one protocol: a row of records, which may be empty."""

    row: Row  # its `absent` are the planned cells without a record here
    planned: int  # training seeds
    point: Point | None = None

    @property
    def outcome(self) -> str:
        """The text in place of a score: `not run`, `diverged`; the whole status if cells differ."""
        count, _, rest = self.row.status.partition(" ")
        same = count == str(len(self.row.records) + len(self.row.absent))
        return rest.partition(" at update")[0] if same else self.row.status

    def place(self, axis: str) -> float:
        """The position of an ablation's point along `axis`: its K, sigma or n_f."""
        assert self.point is not None
        return self.point.settings[axis]


@dataclass(frozen=True)
class Measured:
    """The rows of one data set under one protocol. Another protocol gets an object and a table of its own."""

    dataset: str  # its label
    number: int  # of the protocol, from 1
    of: int
    rows: tuple[PaperRow, ...]

    @property
    def records(self) -> list[Record]:
        return [record for line in self.rows for record in line.row.records]


def read(out: Path, plan: Plan) -> Records:
    """All records of the run, by results folder. UserError for a damaged record."""
    return {folder: read_all(out / folder) for folder in plan.folders}


def protocols(records: Records) -> list[Section]:
    """All records of the run, divided by data set and protocol: a protocol has the same number in all tables."""
    return split([record for own in records.values() for record in own])


def comparison(out: Path, plan: Plan, records: Records, sections: Sequence[Section]) -> dict[str, list[Measured]]:
    """Table 1: for each data set, in the plan's order, one `Measured` per protocol, with a row for each model."""
    found = {}
    for asked in plan.datasets:
        dataset = _label(asked, records[MAIN])
        wanted = [(label(name), None, MAIN, plan.seeds) for name in plan.models]
        found[dataset] = _parts(out, dataset, wanted, records, sections)
    return found


def ablation(out: Path, one: Ablation, records: Records, sections: Sequence[Section]) -> list[Measured]:
    """Tables 2, 3a and 3b: one `Measured` per protocol, with a row for each point."""
    dataset = _label(one.dataset, [record for point in one.points for record in records[point.folder]])
    wanted = [(MODEL, point, point.folder, one.seeds) for point in one.points]
    return _parts(out, dataset, wanted, records, sections)


_Wanted = tuple[str, Point | None, str, Sequence[int]]  # model, point, folder, planned seeds


def _parts(
    out: Path, dataset: str, wanted: list[_Wanted], records: Records, sections: Sequence[Section]
) -> list[Measured]:
    """One `Measured` for each section with any of the wanted records; without such a section, one without records."""
    own = [
        [r for r in records[folder] if (r.dataset, r.model) == (dataset, model) and (not point or r.seed in seeds)]
        for model, point, folder, seeds in wanted
    ]
    numbers = {record.path: section.number for section in sections for record in section.records}
    every = {numbers[record.path] for found in own for record in found}
    shown = [section for section in sections if section.dataset == dataset and section.number in every]
    parts = []
    for section in shown or [Section(dataset, 1, 1, ())]:
        lines = []
        for (model, point, folder, seeds), found in zip(wanted, own, strict=True):
            here = tuple(record for record in found if numbers[record.path] == section.number)
            there = {record.seed: numbers[record.path] for record in found if record not in here}
            absent = tuple(
                Absent(dataset, model, seed, _missing(out / folder, dataset, model, seed, there))
                for seed in seeds
                if seed not in {record.seed for record in here}
            )
            lines.append(PaperRow(Row(model, here, absent), len(seeds), point))
        parts.append(Measured(dataset, section.number, section.of, tuple(lines)))
    return parts


def _missing(root: Path, dataset: str, model: str, seed: int, elsewhere: dict[int, int]) -> str:
    if seed in elsewhere:
        return f"under protocol {elsewhere[seed]}"
    return status_text(CellFolder(root, dataset, model, seed).live_status())


def _label(asked: str, records: list[Record]) -> str:
    """The data set's label, from the records: the label of folder:PATH depends on more than its text."""
    return next((r.dataset for r in records if r.data["config"]["data"].get("source") == asked), asked)
