"""SIGINT and SIGTERM end a run in good order: a training finishes its update and saves; all else stops at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The user or the system asked the process to end; the exit status is 128 plus the signal's number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class _State:
    deferring = False
    noted: int | None = None


def _handle(number: int, _: FrameType | None) -> None:
    if _State.deferring and _State.noted is None:  # a second signal does not wait
        _State.noted = number
        return
    raise Interrupted(number)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM raise Interrupted; afterwards the previous handlers are restored."""
    if threading.current_thread() is not threading.main_thread():  # handlers can be set only there
        yield
        return
    before = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        _State.noted = None
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore() -> None:
    """From now on SIGINT and SIGTERM do nothing here: another process gets them too, and ends this one."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM wait; in a process started there, until it calls `let_through`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Let signals come that `held_back` has kept from this process since it was started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def apart(without_parent: Callable[[], object]) -> None:
    """In a child process: Ctrl-C reaches its parent alone, and `without_parent` is called when that one is gone."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            connection.wait([parent.sentinel])
            without_parent()

    threading.Thread(target=watch, daemon=True).start()


class Deferred:
    """A signal that takes effect later."""

    @property
    def noted(self) -> bool:
        return _State.noted is not None

    def check(self) -> None:
        """Raise Interrupted if a signal was noted."""
        if _State.noted is not None:
            number, _State.noted = _State.noted, None
            raise Interrupted(number)


@contextlib.contextmanager
def deferred() -> Iterator[Deferred]:
    """Inside the block, a first signal takes effect when `check` is called, or at the end of the block."""
    waiting = Deferred()
    _State.deferring = True
    try:
        yield waiting
    finally:
        _State.deferring = False
        waiting.check()
