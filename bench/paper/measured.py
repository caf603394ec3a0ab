"""What was measured of a plan: rows of records by model or point, each with the cells that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
class Line:
    """A model (Table 1) or a point (ablations) in one part of a table: a row of records, or of none."""

    row: Row  # its `absent` are the planned cells without a record here
    planned: int  # training seeds
    point: Point | None = None

    @property
    def status(self) -> str:
        return self.row.status

    @property
    def outcome(self) -> str:
        """What stands in place of a score: `not run`, `diverged`; the whole status where cells differ."""
        count, _, rest = self.status.partition(" ")
        same = count == str(len(self.row.records) + len(self.row.absent))
        return rest.partition(" at update")[0] if same else self.status


@dataclass(frozen=True)
class Part:
    """The lines of one data set under one protocol. A further protocol gets a further part, never the same table."""

    dataset: str  # its label
    section: Section | None  # None where nothing has a record yet
    number: int
    of: int
    lines: tuple[Line, ...]

    @property
    def records(self) -> list[Record]:
        return [record for line in self.lines for record in line.row.records]


def read(out: Path, plan: Plan) -> Records:
    """All records of the run, by results folder. UserError for a damaged one."""
    return {folder: read_all(out / folder) for folder in plan.folders}


def protocols(records: Records) -> list[Section]:
    """All records of the run, parted by data set and protocol: a protocol has one number in all tables."""
    return split([record for own in records.values() for record in own])


def comparison(out: Path, plan: Plan, records: Records, sections: Sequence[Section]) -> dict[str, list[Part]]:
    """Table 1: by data set, in the plan's order, the parts with a line for each model."""
    models = [label(name) for name in plan.models]
    found = {}
    for asked in plan.datasets:
        dataset = _label(asked, records[MAIN])
        own = [record for record in records[MAIN] if record.dataset == dataset and record.model in models]
        wanted = [(model, None, MAIN, [r for r in own if r.model == model], plan.seeds) for model in models]
        found[dataset] = _parts(out, dataset, wanted, sections)
    return found


def ablation(out: Path, one: Ablation, records: Records, sections: Sequence[Section]) -> list[Part]:
    """Tables 2, 3a, 3b: the parts with a line for each point."""
    points = [(point, records[point.folder]) for point in one.points]
    dataset = _label(one.dataset, [record for _, own in points for record in own])
    wanted = []
    for point, there in points:
        own = [r for r in there if (r.dataset, r.model) == (dataset, MODEL) and r.seed in one.seeds]
        wanted.append((MODEL, point, point.folder, own, one.seeds))
    return _parts(out, dataset, wanted, sections)


_Wanted = tuple[str, Point | None, str, list[Record], Sequence[int]]  # model, point, folder, records, planned seeds


def _parts(out: Path, dataset: str, wanted: list[_Wanted], sections: Sequence[Section]) -> list[Part]:
    """A part for each section that has any of the records wanted; one without a section where there is no record."""
    every = {record.path for *_, own, _ in wanted for record in own}
    shown = [section for section in sections if any(record.path in every for record in section.records)]
    parts = []
    for section in shown or [None]:
        lines: list[Line] = []
        for model, point, folder, own, seeds in wanted:
            paths = {record.path for record in own}
            rows = [
                replace(row, absent=())
                for row in (section.rows if section else ())
                if row.records and row.records[0].path in paths
            ]
            here = {record.seed for row in rows for record in row.records}
            elsewhere = {record.seed: _number(shown, record) for record in own if record.seed not in here}
            absent = tuple(
                Absent(dataset, model, seed, _missing(out / folder, dataset, model, seed, elsewhere))
                for seed in seeds
                if seed not in here
            )
            if not rows:
                rows = [Row(model, (), ())]
            rows[0] = replace(rows[0], absent=absent)
            lines += [Line(row, len(seeds), point) for row in rows]
        number, of = (section.number, section.of) if section else (1, 1)
        parts.append(Part(dataset, section, number, of, tuple(lines)))
    return parts


def _missing(root: Path, dataset: str, model: str, seed: int, elsewhere: dict[int, int]) -> str:
    if seed in elsewhere:
        return f"under protocol {elsewhere[seed]}"
    return status_text(CellFolder(root, dataset, model, seed).live_status())


def _number(sections: Iterable[Section], record: Record) -> int:
    return next(section.number for section in sections if record in section.records)


def _label(asked: str, records: list[Record]) -> str:
    """The data set's label: the records' own, as the label of folder:PATH depends on more than its text."""
    return next((r.dataset for r in records if r.data["config"]["data"].get("source") == asked), asked)
