"""One grid in a process of its own, timed: `python -m tests.scale.timed JSON`, the fields of `Grid`; prints JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from bench import report
from bench.config.settings import load_profile
from bench.engines.local import Local
from bench.engines.prepared import Engine
from bench.grid import grid
from bench.grid.cell import Cell
from bench.grid.request import Request
from bench.scoring.setup import Setup

EXTRACTOR = "tests.faults.own_extractor:Projection"
SMALLEST: dict[str, Any] = {  # an evaluation of as little as the settings allow
    "metrics": ["KID"],
    "samples": 64,
    "real": 64,
    "reconstructions": 1,
    "budget": 1,
    "inpaintings": 0,
    "dimensions": [],
    "paths": 1,
    "points": 3,
    "midpoints": 2,
    "sweep_samples": 0,
    "ood": [],
    "frames": 2,
    "throughput_batch": 1,
    "throughput_repeats": 1,
}


@dataclass(frozen=True)
class Grid:
    """Cells of one model on digits that differ in their training seed."""

    model: str
    cells: int
    engine: str = "local"  # or ray: a cluster of this machine, a CPU for each cell
    jobs: int = 1  # of the local engine, each with one thread
    settings: dict[str, Any] | None = None  # of the model
    smallest: bool = False  # whether to evaluate as little as can be, without pictures on the way
    tables: bool = False  # whether to build tables, plots and page too


def run(wanted: Grid) -> dict[str, float]:
    """Seconds of the steps of a run, and milliseconds that it takes for each cell."""
    if wanted.engine == "ray":
        from bench.engines.cluster import Cluster

        engine: Engine = Cluster(None, 1, None)
    else:
        engine = Local(wanted.jobs)
    with tempfile.TemporaryDirectory() as folder:
        request = _request(wanted, engine, Path(folder))
        evaluators: grid.Evaluators = {}
        times = [time.time()]
        cells = grid.prepare(request, evaluators, at_once=engine.at_once)
        times.append(time.time())
        with counted(grid, "announce") as announced, counted(sys.modules[type(engine).__module__], "statuses") as read:
            statuses = engine.complete([(request, cells)], evaluators)
        times.append(time.time())
        if len(set(statuses)) != 1:
            raise SystemExit(f"cells ended differently: {sorted(set(statuses))}")
        found = summary(*times, sorted(recorded(cells)), sum(announced) + sum(read))
        if wanted.tables:
            report.build(request.out)
            found["tables_seconds"] = time.time() - times[-1]
    return found


def _request(wanted: Grid, engine: Engine, folder: Path) -> Request:
    section = wanted.model.rpartition(":")[2]
    sections: dict[str, dict[str, Any]] = {section: dict(wanted.settings or {})}
    if wanted.smallest:
        sections |= {"evaluation": SMALLEST, "training": {"grids": 0}}
    setup = Setup("cpu", wanted.jobs, EXTRACTOR, cache=folder / "cache", progress=False)
    return Request(
        setup=engine.setup(setup),
        profile=load_profile("smoke"),
        overrides=sections,
        datasets=("digits",),
        models=(wanted.model,),
        seeds=tuple(range(wanted.cells)),
        evaluation_seeds=(0,),
        out=folder / "out",
        command="",
    )


@contextmanager
def counted(module: ModuleType, name: str) -> Iterator[list[float]]:
    """Inside the block, the seconds of each call of a module's function are put into the list."""
    real, spent = getattr(module, name), []

    def timed(*given: Any) -> Any:
        started = time.perf_counter()
        try:
            return real(*given)
        finally:
            spent.append(time.perf_counter() - started)

    with mock.patch.object(module, name, timed):
        yield spent


def recorded(cells: Sequence[Cell]) -> list[float]:
    """When the records of cells were written."""
    return [cell.folder.record_path.stat().st_mtime for cell in cells]


def summary(started: float, prepared: float, done: float, records: Sequence[float], around: float) -> dict[str, float]:
    """Seconds of a run's steps from their times, with the records' in order.

    A cell's milliseconds are those from one record to the next, and its share of the seconds `around`: what is done for
    all cells before the first and after the last. The start and the end of an engine are not in them.
    """
    found = {
        "prepare_seconds": prepared - started,
        "complete_seconds": done - prepared,
        "first_record_seconds": records[0] - prepared,  # where it comes late, an engine started
    }
    if len(records) > 2:
        quarter = max(1, len(records) // 4)
        found |= {
            "cell_ms": _each(records) + 1000 * around / len(records),
            "cell_ms_first_quarter": _each(records[: quarter + 1]),
            "cell_ms_last_quarter": _each(records[-quarter - 1 :]),
        }
    return found


def _each(records: Sequence[float]) -> float:
    """Milliseconds from one record to the next."""
    return 1000 * (records[-1] - records[0]) / (len(records) - 1)


if __name__ == "__main__":
    print(json.dumps(run(Grid(**json.loads(sys.argv[1])))))
