"""A process that runs free cells of prepared grids until there is none, and what its parent knows of it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from bench.config.commandline import failure
from bench.engines.lines import Lines
from bench.grid import grid
from bench.grid.request import Request, plan
from bench.machine import signals

LINE, CELL, ERROR = "line", "cell", "error"  # what a worker tells; a cell by its place among all, or None
USER_ERROR = 2  # exit status after ERROR

Tell = Callable[[str, Any], None]


class Worker:
    """A started worker. `cell` is the place of the cell that it works on, None between two."""

    def __init__(self, slot: int, requests: Sequence[Request], device: str | None):
        """Start it; `device` is the only GPU that it sees, None for no difference from this process."""
        self.slot = slot
        self.cell: int | None = None
        self.error: str | None = None  # of the user's, in one line
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads hold
        self.messages, own = context.Pipe(duplex=False)
        self.process = context.Process(target=_main, args=(list(requests), own, device))
        if os.name == "posix":
            resource_tracker.ensure_running()  # here, as its start lets all signals through
        with signals.held_back():
            self.process.start()
        own.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended and all that it said has been read."""
        return self.messages.closed

    @property
    def exit_status(self) -> int | None:
        """Negative for a signal that killed it."""
        return self.process.exitcode

    def read(self) -> list[str]:
        """The lines for the user that have come since; also notes its cell, its error and its end."""
        lines = []
        try:
            while self.messages.poll():
                kind, content = json.loads(self.messages.recv_bytes())
                if kind == LINE:
                    lines.append(content)
                elif kind == CELL:
                    self.cell = content
                else:
                    self.error = content
        except (EOFError, OSError):
            self.messages.close()
            self.process.join()
        return lines

    def stop(self) -> None:
        """Ask it to end: the first time after its update and a checkpoint, the second time at once."""
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


def wait(workers: Sequence[Worker], seconds: float) -> None:
    """Wait until one of them has something to say, or for `seconds`."""
    connection.wait([worker.messages for worker in workers], seconds)


def _main(requests: Sequence[Request], messages: Connection, device: str | None) -> None:
    lock = threading.Lock()

    def tell(kind: str, content: Any) -> None:
        with lock, contextlib.suppress(OSError):  # the parent may be gone
            messages.send_bytes(json.dumps([kind, content]).encode())

    sys.stderr = Lines(lambda line: tell(LINE, line))
    if hasattr(os, "setsid"):  # Ctrl-C reaches the parent alone, which tells the workers once
        with contextlib.suppress(OSError):
            os.setsid()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # read when CUDA is first used
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with signals.handled():
            signals.let_through()
            _run_free(requests, tell)
    except signals.Interrupted as error:
        sys.exit(error.status)
    except Exception as error:
        line = failure(error)
        if line is None:
            raise
        tell(ERROR, line)
        sys.exit(USER_ERROR)


def _run_free(requests: Sequence[Request], tell: Tell) -> None:
    """Run cells that have no record and that nobody works on, until there is none. The parent has checked them."""
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
                tell(CELL, place)
                key = grid.evaluator_key(cell, request)
                if key not in evaluators:
                    evaluators[key] = request.setup.evaluator(cell.source, cell.data, cell.evaluation)
                grid.one(cell, evaluators[key], request, grid.title_of(cells, i))
                tell(CELL, None)


def _end_with_parent() -> None:
    """Save and end when the parent is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
