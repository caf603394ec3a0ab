"""A process that does a share of a work, and what its parent knows of it."""

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
from bench.machine import signals

LINE, NEWS, ERROR = "line", "news", "error"  # what a worker tells: for the user, of its work, why it cannot go on
USER_ERROR = 2  # exit status after ERROR

Tell = Callable[[str, Any], None]
Work = Callable[[Tell], None]  # told NEWS with any JSON value; it can be pickled


class Worker:
    """A started worker."""

    def __init__(self, slot: int, work: Work, device: str | None = None):
        """Start it; `device` is the only GPU that it sees, None for no difference from this process."""
        self.slot = slot
        self.news: list[Any] = []  # what it told of its work, oldest first
        self.error: str | None = None  # of the user's, in one line
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads hold
        self.messages, own = context.Pipe(duplex=False)
        self.process = context.Process(target=_main, args=(work, own, device))
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

    @property
    def killed_by(self) -> str:
        """The name of the signal that ended it, "" where none did."""
        status = self.exit_status or 0
        if status < 0:
            return signal.Signals(-status).name
        return signal.Signals(status - 128).name if status > 128 else ""  # somebody stopped this worker alone

    def read(self) -> list[str]:
        """The lines for the user that have come since; also notes its news, its error and its end."""
        lines = []
        try:
            while self.messages.poll():
                kind, content = json.loads(self.messages.recv_bytes())
                if kind == LINE:
                    lines.append(content)
                elif kind == NEWS:
                    self.news.append(content)
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


def end_all(workers: list[Worker], pause: float, hear: Callable[[str], object]) -> None:
    """End the workers: the first time each saves; a signal that comes meanwhile ends them at once."""
    for end in (Worker.stop, Worker.stop, Worker.kill):
        for one in workers:
            end(one)
        try:
            while workers:
                wait(workers, pause)
                for one in workers:
                    for line in one.read():
                        hear(line)
                workers[:] = [one for one in workers if not one.ended]
            return
        except signals.Interrupted:
            continue


def _main(work: Work, messages: Connection, device: str | None) -> None:
    lock = threading.Lock()

    def tell(kind: str, content: Any) -> None:
        with lock, contextlib.suppress(OSError):  # the parent may be gone
            messages.send_bytes(json.dumps([kind, content]).encode())

    sys.stderr = Lines(lambda line: tell(LINE, line))
    signals.apart(lambda: os.kill(os.getpid(), signal.SIGTERM))  # save and end without the parent
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device  # read when CUDA is first used
    try:
        with signals.handled():
            signals.let_through()
            work(tell)
    except signals.Interrupted as error:
        sys.exit(error.status)
    except Exception as error:
        line = failure(error)
        if line is None:
            raise
        tell(ERROR, line)
        sys.exit(USER_ERROR)
