"""Locks of a results folder: no two processes work on the same thing. The system frees a lock when its owner dies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UserError
from bench.results.layout import CELLS, LOCKS

REPORT = "report"


def lock(out: Path, name: str) -> FileLock:
    """The lock `name` of the results folder `out`, not yet taken; a soft one if the file system has no locks."""
    return FileLock(Path(out) / LOCKS / f"{name}.lock", thread_local=False)


def report_lock(out: Path) -> FileLock:
    """The lock of a results folder's tables, plots and page."""
    return lock(out, REPORT)


def taken(lock: FileLock) -> bool:
    """Take the lock if it is free, without waiting, and return whether it was. UserError if it cannot be written."""
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


def is_taken(lock: FileLock) -> bool:
    """Whether a living process holds the lock."""
    if not Path(lock.lock_file).exists():
        return False
    with contextlib.suppress(UserError):
        if taken(lock):
            lock.release()
            return False
    return True


@contextlib.contextmanager
def reporting(out: Path) -> Iterator[None]:
    """Hold the lock of the tables, plots and page of `out`; wait for it as long as necessary."""
    held = report_lock(out)
    Path(held.lock_file).parent.mkdir(parents=True, exist_ok=True)
    with held:
        _sweep_report(out)
        yield


def _sweep_report(folder: Path) -> None:
    """Sweep a results folder except for what other locks cover: its cells, and results folders within it."""
    sweep(folder)
    for path in folder.iterdir():
        if path.is_dir() and path.name != CELLS and not (path / CELLS).is_dir():
            _sweep_report(path)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed writers in `folder`. Only for the holder of the lock that covers it."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            os.unlink(path)
