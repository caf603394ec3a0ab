"""Locks of a results folder: two processes never work on one cell. The system frees a lock when its owner dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UserError
from bench.results.layout import folder_name

LOCKS = ".locks"  # in the results folder
REPORT = "report"
CELLS = "cells"


def cell_lock(out: Path, dataset: str, model: str, seed: int) -> FileLock:
    """The lock of one cell of the results folder `out`; not yet taken. Where a file system has no locks, a soft one."""
    return _lock(out, f"{folder_name(dataset)},{folder_name(model)},seed-{seed}")


def report_lock(out: Path) -> FileLock:
    """The lock of a results folder's tables, plots and page."""
    return _lock(out, REPORT)


def taken(lock: FileLock) -> bool:
    """Take the lock if it is free, without waiting: whether that went well. UserError where locks cannot be written."""
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise UserError(
            f"cannot lock {lock.lock_file}: {error.strerror or error}; free some space, or choose another --out"
        ) from None
    return True


@contextlib.contextmanager
def released(lock: FileLock) -> Iterator[None]:
    """A lock that was taken is free again at the end of the block."""
    try:
        yield
    finally:
        lock.release()


def is_locked(out: Path, dataset: str, model: str, seed: int) -> bool:
    """Whether a process that is alive works on the cell."""
    lock = cell_lock(out, dataset, model, seed)
    if not Path(lock.lock_file).exists():
        return False
    with contextlib.suppress(UserError):
        if taken(lock):
            lock.release()
            return False
    return True


@contextlib.contextmanager
def reporting(out: Path) -> Iterator[None]:
    """Hold the lock of the tables, plots and page of `out`, waiting for it as long as it takes."""
    lock = report_lock(out)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    with lock:
        _sweep_report(out)
        yield


def _sweep_report(folder: Path) -> None:
    """Sweep a results folder but for what other locks cover: its cells, and results folders within it."""
    sweep(folder)
    for path in folder.iterdir():
        if path.is_dir() and path.name != CELLS and not (path / CELLS).is_dir():
            _sweep_report(path)


def sweep(folder: Path) -> None:
    """Remove what killed writers left in `folder`: temporary files. Only for the holder of the lock that covers it."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _lock(out: Path, name: str) -> FileLock:
    return FileLock(Path(out) / LOCKS / f"{name}.lock", thread_local=False)
