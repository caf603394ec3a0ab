"""Cells on a Ray cluster, each a task with its CPUs and GPUs.

The driver alone reads data sets and writes results. Images and real images' features go to the nodes through the object
store; checkpoints, statuses and finished cells come back and are written here. A task whose node is lost is started
again from the last checkpoint that came back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.engines import mailbox, node
from bench.engines.connection import connected, refuse_differing, refuse_too_small
from bench.engines.prepared import Prepared, begin, needed, pinned, statuses, titles, tolerate_shortage
from bench.engines.progress import Display, line_of
from bench.errors import UserError, one_line
from bench.grid import grid, say
from bench.grid.cell import Cell
from bench.machine import runtime, signals
from bench.results import status as status_files
from bench.results.cell_folder import CHECKPOINT, RECORD
from bench.sampling.actors import Actors
from bench.scoring.setup import Setup
from bench.storage.files import write_bytes

PAUSE = 1.0  # seconds between looks at the tasks
LOSSES = 3  # of one cell's tasks without a checkpoint between them; after a further one the cell is left
PATIENCE = 600.0  # seconds that tasks have to save and end after a signal


@dataclass(frozen=True)
class Cluster:
    """Cells of prepared grids on the nodes of a Ray cluster."""

    address: str | None  # None: a cluster of this machine alone, started for the run
    cpus: int  # and threads of a cell
    gpus: float | None  # of a cell; None: one where --device is cuda, else none

    def __post_init__(self) -> None:
        try:
            import ray  # noqa: F401
        except ImportError:
            raise UserError(
                "--engine ray: Ray is not installed: pip install 'short-run-ebm-benchmark[ray]', or leave --engine out"
            ) from None

    @property
    def at_once(self) -> int:
        return os.cpu_count() or 1  # more nodes need more space for checkpoints; how many is not known yet

    def setup(self, setup: Setup) -> Setup:
        """The setup of one cell; the driver computes real images' features at a cell's number of threads."""
        return replace(setup, threads=self.cpus, sampling=Actors(setup.sampling.workers))

    def complete(self, prepared: Prepared, evaluators: grid.Evaluators) -> list[str]:
        """As `Engine.complete`. UserError for a cluster that cannot be reached, or that cannot run the cells."""
        if begin(prepared):
            chosen = prepared[0][0].setup.device_choice == "cuda"
            gpus = float(chosen) if self.gpus is None else self.gpus
            with connected(self.address), signals.handled():  # again, as Ray sets handlers of its own
                refuse_differing(refuse_too_small(self.cpus, gpus))
                _Tasks(prepared, evaluators, self.cpus, gpus).run()
        return statuses(prepared)


@dataclass
class _Task:
    """A cell that was given to the cluster."""

    place: int
    lock: contextlib.ExitStack  # holds the cell until the task is over
    where: str = ""  # node and device, once it runs


@dataclass
class _Tasks:
    """The tasks of all missing cells, started, watched and started again."""

    prepared: Prepared
    evaluators: grid.Evaluators
    cpus: int
    gpus: float
    lost: Counter[int] = field(default_factory=Counter)  # place -> tasks since its last checkpoint
    recorded: set[int] = field(default_factory=set)  # by this driver
    stopping: bool = False
    running: dict[Any, _Task] = field(default_factory=dict)  # by the reference of a task's result

    def __post_init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        first = self.prepared[0][0].setup
        device = "cuda" if self.gpus else "cpu"
        setup = replace(first, progress=False, cache=None, device_choice=device, extractor_choice=pinned(first))
        sent = [(_undisturbed(ray.put, replace(request, setup=setup)), cells) for request, cells in self.prepared]
        self.work = [(request, i) for request, cells in sent for i in range(len(cells))]
        self.keys = [grid.evaluator_key(cell, request) for request, cells in self.prepared for cell in cells]
        self.cells: list[Cell] = [cell for _, cells in self.prepared for cell in cells]
        self.titles, self.display = titles(self.prepared), Display(first.progress)
        self.shipped: dict[tuple[object, ...], tuple[Any, Any]] = {}
        for key in needed(self.prepared):
            evaluator = self.evaluators[key]
            try:
                self.shipped[key] = _undisturbed(ray.put, evaluator.data), _undisturbed(ray.put, evaluator.known())
            except (RuntimeError, MemoryError) as error:
                tolerate_shortage(error)
                raise UserError(f"{evaluator.data.name}: {runtime.out_of_memory(error)}: take more memory") from None
        self.evaluators.clear()
        runtime.release_memory(first.device)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = ray.remote(mailbox.Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0}
        options["max_calls"] = 1 if self.gpus else 0  # a process keeps a GPU's memory until it ends
        self.task = ray.remote(**options)(node.run)

    def run(self) -> None:
        """Return when every cell has a record. A signal or an error ends all tasks, which save, and is raised."""
        import ray

        told = False
        missing, looked = self._missing(range(len(self.cells))), time.monotonic()
        try:
            while missing:
                left = [place for place in missing if self.lost[place] <= LOSSES]
                self._start(left)
                if not self.running and not left:
                    names = one_line(", ".join(self.titles[place] for place in missing))
                    raise UserError(
                        f"tasks of {names} were lost {LOSSES + 1} times: look at the nodes' memory, or give more "
                        "--cpus-per-cell; the same command continues where it stopped"
                    )
                if not self.running and not told:
                    say(f"waiting for {len(left)} cells that another process works on")
                    told = True
                self._look()
                if not self.running:
                    time.sleep(PAUSE)
                self.display.show(self._at_work)
                missing = [place for place in missing if place not in self.recorded]
                if time.monotonic() - looked >= PAUSE:  # a look at all of them takes longer than small cells do
                    missing, looked = self._missing(missing), time.monotonic()
        finally:
            self._stop()
            self.display.clear()
            ray.kill(self.mailbox)

    def _missing(self, among: Iterable[int]) -> list[int]:
        return [place for place in among if not self.cells[place].folder.has_record]

    def _start(self, left: Sequence[int]) -> None:
        """Give the cluster as many free cells as it has room for."""
        import ray

        total = _undisturbed(ray.cluster_resources)
        room = int(total.get("CPU", 0) // self.cpus)
        if self.gpus:
            room = min(room, int(total.get("GPU", 0) / self.gpus))
        taken = {task.place for task in self.running.values()}
        for place in left:
            if place in taken or len(self.running) >= max(1, room):
                continue
            with contextlib.ExitStack() as stack:
                folder = self.cells[place].folder
                if not stack.enter_context(folder.held()) or folder.has_record:
                    continue
                folder.sweep()
                request, index = self.work[place]
                common = node.Common(request, *self.shipped[self.keys[place]])
                files = node.files_of(folder)
                reference = _undisturbed(self.task.remote, place, common, index, files, self.mailbox)
                self.running[reference] = _Task(place, stack.pop_all())

    def _look(self) -> None:
        """Wait a moment, take what has come, and look after tasks that are over."""
        import ray

        over = _undisturbed(ray.wait, list(self.running), timeout=PAUSE)[0] if self.running else []
        self._take_mail()
        for reference in over:
            task = self.running[reference]
            try:
                result = _undisturbed(ray.get, reference)
            except ray.exceptions.RayError as error:
                result = None
                self._lost(task, error)
            self._take_mail()  # what it sent last
            if result is not None:
                self._write(task.place, result.files)
            del self.running[reference]
            task.lock.close()
            if result is not None and result.how == node.REFUSED:
                raise UserError(result.message)
            if result is not None and result.how == node.FAILED:
                self.display.say(f"{result.message}{self.titles[task.place]} ended with this error, on {task.where}")
                raise SystemExit(1)

    def _lost(self, task: _Task, error: Exception) -> None:
        if self.stopping:
            return
        self.lost[task.place] += 1
        after = "continued elsewhere" if self.lost[task.place] <= LOSSES else "left"
        on = f" on {task.where}" if task.where else ""
        kind = type(error).__name__
        self.display.say(f"{self.titles[task.place]}: its task{on} was lost ({kind}); {after}")

    def _take_mail(self) -> None:
        import ray

        tasks = {task.place: task for task in self.running.values()}
        for place, kind, content in _undisturbed(lambda: ray.get(self.mailbox.take.remote())):
            task = tasks.get(place)
            if kind == mailbox.LINE:
                self.display.say(content)
            elif task is None:  # of a task that was lost
                continue
            elif kind == mailbox.AT:
                task.where = content
            elif kind == mailbox.SAVED:
                self.lost[place] = 0
                self._write(place, content)
            elif (status := status_files.parse(content)) is not None:
                with contextlib.suppress(OSError):
                    found = replace(status, node=task.where, pid=os.getpid())
                    self.cells[place].folder.write_status(found)

    def _write(self, place: int, files: node.Files) -> None:
        """Write a cell's files, the record last. The caller's task holds its lock."""
        folder = self.cells[place].folder
        if CHECKPOINT in files and files[CHECKPOINT] != _content(folder):
            folder.rotate_checkpoints()
        for name in sorted(files, key=lambda name: name == RECORD):
            write_bytes(folder.path / name, files[name])
        if RECORD in files:
            grid.recorded(self.cells[place])
            self.recorded.add(place)

    def _at_work(self) -> list[str]:
        busy = [task.place for task in self.running.values() if task.where]
        return [line_of(self.titles[place], self.cells[place].folder.read_status()) for place in busy]

    def _stop(self) -> None:
        """Have the tasks save and end; a further signal, or too long a wait, ends them at once."""
        import ray

        self.stopping, end = True, time.monotonic() + PATIENCE
        try:
            if self.running:
                _undisturbed(lambda: ray.get(self.mailbox.stop.remote()))
            for reference, task in self.running.items():
                if not task.where:
                    ray.cancel(reference)
            while self.running and time.monotonic() < end:
                with contextlib.suppress(UserError, SystemExit):  # the first error is the one to tell
                    self._look()
        except signals.Interrupted:
            pass
        for reference, task in self.running.items():
            ray.cancel(reference, force=True)
            task.lock.close()


def _undisturbed(call: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What a call into Ray gives; a signal that comes meanwhile is raised after it, as Ray's own code would break."""
    with signals.deferred():
        return call(*given, **named)


def _content(folder: Any) -> bytes | None:
    with contextlib.suppress(OSError):
        return bytes(folder.checkpoint_path.read_bytes())
    return None
