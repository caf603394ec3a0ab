"""Cells on this machine: one after another in this process, or `--jobs N` at once in N others.

The processes share the grid by its locks, as any that are given the same folder do. This one plans, refuses, keeps the
features of real images in the cache, watches, and says everything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from bench.engines import worker
from bench.engines.prepared import Prepared, begin, needed, pinned, statuses, titles, tolerate_shortage
from bench.engines.progress import Display, line_of
from bench.engines.worker import NEWS, Tell, Worker
from bench.errors import UserError
from bench.evaluation.references import Reference
from bench.grid import grid, say
from bench.grid.request import Request, plan
from bench.grid.together import Leader
from bench.machine import gpu, runtime
from bench.scoring.setup import Setup

PAUSE = 1.0  # seconds between looks at the workers
References = dict[tuple[object, ...], dict[str, Reference]]  # by the evaluator's key but for its setup
DEATHS = 3  # workers that may be killed without a cell finished between them; a further one has none after it


@dataclass(frozen=True)
class Local:
    """Cells of prepared grids, `jobs` at once."""

    jobs: int = 1
    leader: Leader | None = None  # of the ranks that make the updates together; then there is one job

    @property
    def at_once(self) -> int:
        return self.jobs

    def setup(self, setup: Setup) -> Setup:
        """The setup of one cell: its share of the threads."""
        if self.jobs == 1:
            return setup
        return replace(setup, threads=max(1, (setup.threads or torch.get_num_threads()) // self.jobs))

    def complete(self, prepared: Prepared, evaluators: grid.Evaluators) -> list[str]:
        """Run every cell that has no record; the status of all cells in order. Raises as `grid.complete`.

        Where there are workers, `evaluators` is emptied: their images and features would lie here unused.
        """
        if self.jobs == 1:
            done = (grid.complete(request, cells, evaluators, self.leader) for request, cells in prepared)
            return [status for statuses in done for status in statuses]
        if begin(prepared):
            known = _references(prepared, evaluators)
            evaluators.clear()
            runtime.release_memory(prepared[0][0].setup.device)
            _Crew(prepared, self.jobs, known).run()
        return statuses(prepared)


def _references(prepared: Prepared, evaluators: grid.Evaluators) -> References:
    """The references that the missing cells need, or every worker would score them; their features are then cached."""
    known = {}
    for key in needed(prepared) if prepared[0][0].setup.cache is not None else ():
        try:
            known[key[:-1]] = evaluators[key].references  # without the setup: that of the workers says nothing
        except (RuntimeError, MemoryError) as error:
            tolerate_shortage(error)
    return known


class _Crew:
    """The workers, started and started again as long as there are free cells."""

    def __init__(self, prepared: Prepared, jobs: int, known: References):
        first = prepared[0][0].setup
        setup = replace(first, progress=False, extractor_choice=pinned(first))
        requests = [replace(request, setup=setup) for request, _ in prepared]
        self.work = partial(run_free, requests, known)
        self.cells = [cell for _, cells in prepared for cell in cells]
        self.titles = titles(prepared)
        self.display = Display(first.progress)
        self.workers: list[Worker] = []
        self.slots = deque(range(jobs))  # those without a worker
        self.devices = gpu.visible() if first.device.type == "cuda" else []
        self.deaths = 0  # since a cell was last finished
        self.last_death = ""
        self.waiting = False

    def run(self) -> None:
        """Return when every cell has a record. A signal or an error ends all workers, which save, and is raised."""
        missing, looked = self._missing(range(len(self.cells))), time.monotonic()
        try:
            while missing or self.workers:
                self._start(missing)
                if missing and not self.workers:
                    self._wait_for_others(missing)
                worker.wait(self.workers, PAUSE)
                self._listen()
                self.display.show(self._at_work)
                if not self.slots and time.monotonic() - looked < PAUSE:
                    continue  # a look at all cells whenever one has ended would take longer than small cells do
                before, missing, looked = missing, self._missing(missing), time.monotonic()
                if len(missing) < len(before):
                    self.deaths = 0
        finally:
            worker.end_all(self.workers, PAUSE, self.display.say)
            self.display.clear()

    def _missing(self, among: Iterable[int]) -> list[int]:
        return [place for place in among if not self.cells[place].folder.has_record]

    def _start(self, missing: Sequence[int]) -> None:
        """Start a worker for every free cell that none is about to take, in the slots that are empty."""
        if not self.slots or self.deaths > DEATHS:
            return
        own = {_doing(one) for one in self.workers}
        free = sum(not self.cells[place].folder.is_locked for place in missing if place not in own)
        for _ in range(min(free - sum(_doing(one) is None for one in self.workers), len(self.slots))):
            slot = self.slots.popleft()
            device = self.devices[slot % len(self.devices)] if self.devices else None
            self.workers.append(Worker(slot, self.work, device))

    def _wait_for_others(self, missing: Sequence[int]) -> None:
        if self.deaths > DEATHS:
            raise UserError(
                f"{self.deaths} workers ended by {self.last_death} and {len(missing)} cells are not done: "
                "give fewer --jobs if memory ran out; the same command continues where it stopped"
            )
        if not self.waiting:
            say(f"waiting for {len(missing)} cells that another process works on")
        self.waiting = True

    def _listen(self) -> None:
        """Say what the workers say, and look after those that have ended."""
        for one in list(self.workers):
            for line in one.read():
                self.display.say(line)
            if one.ended:
                self.workers.remove(one)
                self.slots.append(one.slot)
                self._ended(one)

    def _ended(self, one: Worker) -> None:
        status = one.exit_status or 0
        if one.error is not None:
            raise UserError(one.error)
        if killed := one.killed_by:
            self.deaths, self.last_death = self.deaths + 1, killed
            place = _doing(one)
            doing = f" at {self.titles[place]}" if place is not None else ""
            after = "another one continues" if self.deaths <= DEATHS else "no further one is started"
            self.display.say(f"a worker was ended by {killed}{doing}: {after}")
        elif status:
            self.display.say("a worker ended with the error above; the same command continues where it stopped")
            raise SystemExit(status)

    def _at_work(self) -> list[str]:
        busy = [place for one in self.workers if (place := _doing(one)) is not None]
        return [line_of(self.titles[place], self.cells[place].folder.read_status()) for place in busy]


def _doing(one: Worker) -> int | None:
    """The place of the cell that it works on."""
    return one.news[-1] if one.news else None


def run_free(requests: Sequence[Request], known: References, tell: Tell) -> None:
    """Run cells that have no record and that nobody works on, until there is none: a worker's work.

    The parent has checked them, and `known` are the references that it has scored. NEWS is the cell that is worked on,
    by its place among all, or None between two.
    """
    requests[0].setup.configure()
    planned = [(request, cells, i) for request in requests for cells in [plan(request)] for i in range(len(cells))]
    evaluators: grid.Evaluators = {}
    found = True
    while found:
        found = False
        for place, (request, cells, i) in enumerate(planned):
            cell = cells[i]
            if cell.folder.has_record:
                continue
            with cell.folder.held() as own:
                if not own or cell.folder.has_record:
                    continue
                found = True
                tell(NEWS, place)
                key = grid.evaluator_key(cell, request)
                if key not in evaluators:
                    evaluators[key] = request.setup.evaluator(cell.source, cell.data, cell.evaluation)
                    if key[:-1] in known:
                        evaluators[key].references = known[key[:-1]]
                grid.one(cell, evaluators[key], request, grid.title_of(cells, i))
                tell(NEWS, None)
