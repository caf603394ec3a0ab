"""What runs on a node of a Ray cluster: one cell, in a folder of its own whose files go to the driver.

A node needs the project and the extractor's weights, but no data set and no shared folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.config.commandline import failure
from bench.engines.lines import Lines
from bench.engines.mailbox import AT, LINE, SAVED, STATE
from bench.evaluation import Evaluator
from bench.grid import grid
from bench.grid.cell import Cell
from bench.grid.request import Request, plan
from bench.machine import signals
from bench.results.cell_folder import CHECKPOINT, PREVIOUS, STATUS, CellFolder
from bench.storage.files import write_bytes

PAUSE = 1.0  # seconds between looks at what there is to send
DONE, STOPPED, REFUSED, FAILED = "done", "stopped", "refused", "failed"

Files = dict[str, bytes]  # of a cell, by their path in its folder


@dataclass(frozen=True)
class Result:
    """How a cell ended: DONE with its files, STOPPED with those to continue from, REFUSED or FAILED with a message."""

    how: str
    files: Files
    message: str = ""


@dataclass(frozen=True)
class Common:
    """What many cells have in common, as references into the object store."""

    request: Any  # of a `Request`
    images: Any  # of an `ImageData`
    known: Any  # of what the driver's evaluator of these images knows


def files_of(folder: CellFolder) -> Files:
    """All files of a cell but its status."""
    paths = (path for path in sorted(folder.path.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder.path).as_posix(): path.read_bytes() for path in paths if path.name != STATUS}


def run(
    place: int,  # of the cell among all of the driver's
    common: Common,
    index: int,  # of the cell in the request's plan
    files: Files,  # of the cell, as far as it is there
    mailbox: Any,  # an actor's handle
) -> Result:
    """Run a cell from its files, or from the start, and give its files."""
    with tempfile.TemporaryDirectory(prefix="cell-") as place_of_work:
        request, cells = _planned(common.request)
        cell = replace(cells[index], out=Path(place_of_work))
        for name, content in files.items():
            write_bytes(cell.folder.path / name, content)
        sender = _Sender(place, cell.folder, mailbox)
        before, sys.stderr = sys.stderr, Lines(sender.line)
        try:
            with signals.handled(), sender.sending():
                request.setup.configure()
                grid.one(cell, _evaluator(common, index), request, grid.title_of(cells, index))
            return Result(DONE, files_of(cell.folder))
        except signals.Interrupted:
            return Result(STOPPED, files_of(cell.folder))
        except Exception as error:
            line = failure(error)
            here = [str(cell.folder.path), str(replace(cell, out=request.out).folder.path)]
            if line is not None:
                return Result(REFUSED, files_of(cell.folder), line.replace(*here))
            return Result(FAILED, files_of(cell.folder), traceback.format_exc())
        finally:
            sys.stderr = before


# a process that runs one cell after another fetches what they have in common once, and keeps the last


@lru_cache(maxsize=1)
def _planned(request: Any) -> tuple[Request, list[Cell]]:
    """The request behind a reference, and its cells."""
    import ray

    found: Request = ray.get(request)
    return found, plan(found)


_evaluators: dict[Any, Evaluator] = {}  # by the reference of its images, of which there is one for each evaluator


def _evaluator(common: Common, index: int) -> Evaluator:
    import ray

    if common.images not in _evaluators:
        _evaluators.clear()
        request, cells = _planned(common.request)
        with signals.deferred():  # an exception would break Ray's own code
            images, known = ray.get([common.images, common.known])
        evaluator = Evaluator(images, request.setup.extractor, cells[index].evaluation, progress=False)
        evaluator.take(known)
        _evaluators[common.images] = evaluator
    return _evaluators[common.images]


class _Sender:
    """Sends a cell's lines, status and checkpoints while it runs, and ends it when the driver says so."""

    def __init__(self, place: int, folder: CellFolder, mailbox: Any):
        self._place, self._folder, self._mailbox = place, folder, mailbox
        self._waiting: list[tuple[str, Any]] = [(AT, described())]
        self._sent: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()

    def line(self, text: str) -> None:
        with self._lock:
            self._waiting.append((LINE, text))

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        import ray

        stopping = False
        while True:
            last = self._over.wait(PAUSE)
            with self._lock:
                found, self._waiting = self._waiting, []
            found += self._changed(STATUS, lambda path: (STATE, path.read_bytes()))
            found += self._changed(CHECKPOINT, lambda _: (SAVED, self._saved()))
            if ray.get(self._mailbox.post.remote(self._place, found)) and not stopping:
                stopping = True
                os.kill(os.getpid(), signal.SIGTERM)
            if last:
                return

    def _saved(self) -> Files:
        return {name: content for name, content in files_of(self._folder).items() if name != PREVIOUS}

    def _changed(self, name: str, message: Callable[[Path], tuple[str, Any]]) -> list[tuple[str, Any]]:
        """The message of a file that is new since it was last sent; a file may be replaced meanwhile."""
        path = self._folder.path / name
        try:
            about = path.stat()
            now = about.st_mtime_ns, about.st_size
            if self._sent.get(name) == now:
                return []
            found = message(path)
        except FileNotFoundError:
            return []
        self._sent[name] = now
        return [found]


def described() -> str:
    """This node and what a cell has of it: `node 10.0.0.7 (3f2a1c), GPU 0`."""
    import ray

    context = ray.get_runtime_context()
    gpus = ", ".join(f"GPU {number}" for number in ray.get_gpu_ids())
    cpus = context.get_assigned_resources().get("CPU", 0)
    return f"node {ray.util.get_node_ip_address()} ({context.get_node_id()[:6]}), {gpus or f'{cpus:g} CPUs'}"
