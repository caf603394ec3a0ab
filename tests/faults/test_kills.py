"""Fifty kills at random moments, then one clean pass: every result is that of a run never interrupted."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.results.cell_folder import CHECKPOINT, RECORD, CellFolder
from tests.faults.processes import SMOKE, fork, last_line, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results

KILLS = 50
CELLS = 3
# a checkpoint after every update, so that many kills meet one; the reference run saved but twice
OFTEN = [*SMOKE, "--set", "training.checkpoint_minutes=1e-9"]
MOMENTS = {  # what to wait for -> how often, and how many seconds later at most
    "any": (14, 6.0),
    "training": (8, 0.3),
    "checkpoint": (8, 0.0),
    "evaluating": (8, 1.0),
    "record": (4, 0.05),
    "recorded": (4, 0.02),
    "report": (4, 1.0),
}


@dataclass
class Grid:
    """A results folder that is being worked on, and what is known of its finished cells."""

    out: Path
    log: Path
    finished: dict[Path, tuple[bytes, int]]  # record -> content and time, as first seen

    def look(self) -> None:
        """A record that is there once never changes again."""
        for path in self.out.glob(f"cells/*/*/*/{RECORD}"):
            found = path.read_bytes(), path.stat().st_mtime_ns
            assert self.finished.setdefault(path, found) == found, f"{path} was made twice"

    def whole(self) -> bool:
        return len(list(self.out.glob(f"cells/*/*/*/{RECORD}"))) == CELLS


def newer(paths: Iterator[Path], since: float) -> bool:
    """Whether one of the files was written after `since`; files may vanish meanwhile."""
    for path in paths:
        try:
            if path.stat().st_mtime > since:
                return True
        except OSError:
            continue
    return False


def moment(name: str, grid: Grid) -> Callable[[], bool]:
    """Whether the moment has come, for a process that starts now."""
    out, since = grid.out, time.time()

    def in_state(state: str) -> bool:
        found = [cell for cell in CellFolder.all_in(out) if newer(iter([cell.status_path]), since)]
        return any(status.state == state for cell in found if (status := cell.read_status()))

    waits: dict[str, Callable[[], bool]] = {
        "any": lambda: True,
        "training": lambda: in_state("training"),
        "checkpoint": lambda: any(out.glob(f"cells/*/*/*/.{CHECKPOINT}.*.tmp")),
        "evaluating": lambda: in_state("evaluating"),
        "record": lambda: newer(out.glob("cells/*/*/*/samples.png"), since),
        "recorded": lambda: newer(out.glob(f"cells/*/*/*/{RECORD}"), since),
        "report": lambda: newer(out.glob("plots/*/*.png"), since),
    }
    return waits[name]


def where(out: Path) -> str:
    """What the killed process was doing, as its files tell."""
    unfinished = sorted(path.name.split(".")[1] for path in out.rglob(".*.tmp"))
    if unfinished:
        return f"writing {unfinished[0]}"
    cells = CellFolder.all_in(out)
    if cells and all(cell.has_record for cell in cells):
        return "report"
    states = [status.state for cell in cells if (status := cell.read_status())]
    return next((state for state in ("evaluating", "training") if state in states), "before the first cell")


@pytest.fixture
def grids(tmp_path) -> Callable[[bool], Grid]:
    """A grid whose cells are all there, or one that still has some to make; a new one where there is none."""
    made: list[Grid] = []

    def choose(whole: bool) -> Grid:
        for grid in made:
            if grid.whole() == whole:
                return grid
        made.append(Grid(tmp_path / f"grid-{len(made)}", tmp_path / f"log-{len(made)}", {}))
        return made[-1]

    choose.made = made
    return choose


def test_fifty_kills(reference, grids, measured):
    chance = random.Random(1904)
    planned = [name for name, (times, _) in MOMENTS.items() for _ in range(times)]
    assert len(planned) == KILLS
    chance.shuffle(planned)
    kills: Counter[str] = Counter()
    started, runs = time.monotonic(), 0
    while planned:
        name = planned.pop()
        grid = grids(name == "report")
        delay = chance.uniform(0.0, MOMENTS[name][1])
        runs += 1
        come = moment(name, grid)
        process = fork([*OFTEN, "--out", grid.out], grid.log)
        if wait_until(come, process):
            process.join(delay)
        process.kill()
        process.join()
        grid.look()
        if process.exitcode == 0:
            planned.insert(0, name)  # it was done before the moment came: no kill
            assert runs < 3 * KILLS
            continue
        assert process.exitcode == -9, grid.log.read_text()
        kills[where(grid.out)] += 1
    for grid in grids.made:
        process = fork([*OFTEN, "--out", grid.out], grid.log)
        process.join()
        said = grid.log.read_text()
        assert process.exitcode == 0, last_line(said)
        grid.look()
        assert len(grid.finished) == CELLS
        assert said.count(": finished after") <= CELLS
        assert "Traceback" not in said
        assert_same_results(reference, grid.out)
        assert_nothing_left_over(grid.out)
        assert (grid.out / "table.md").exists()
    landed = ", ".join(f"{name} {n}" for name, n in kills.most_common())
    measured(f"{KILLS} kills over {len(grids.made)} grids in {time.monotonic() - started:.0f} s: {landed}")
    assert kills.total() == KILLS
    assert {"training", "evaluating", "report", f"writing {CHECKPOINT.split('.')[0]}"} <= kills.keys()
