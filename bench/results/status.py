"""What each cell is doing: `status.json` beside its log while it has no record, and `python -m bench.status RESULTS`.

A status is for people who watch a run. No result depends on it: a damaged one counts as missing, and a disk that cannot
take it does not stop a training.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.storage.files import TooLargeError, json_text, read_bounded, write_bytes

STATES = ("waiting", "training", "evaluating", "interrupted")
LARGEST = 1 << 16  # bytes; a longer file is not a status
NEW = 0.3  # weight of the newest measurement in the rate

_KINDS: dict[str, tuple[type, ...]] = {
    "state": (str,),
    "message": (str,),
    "changed": (str,),
    "node": (str,),
    "update": (int,),
    "updates": (int,),
    "pid": (int,),
    "rate": (int, float, type(None)),
    "seconds_left": (int, float, type(None)),
    "scalars": (dict,),
}


@dataclass(frozen=True)
class CellStatus:
    """The progress of a cell without a record."""

    state: str  # one of STATES
    update: int = 0  # updates made
    updates: int = 0  # updates in all
    rate: float | None = None  # updates per second, over the last minute or so
    seconds_left: float | None = None  # of training
    scalars: dict[str, float] = field(default_factory=dict)  # of the last update, finite ones only
    pid: int = 0
    message: str = ""
    changed: str = ""  # UTC, ISO 8601; filled in when the status is written
    node: str = ""  # the machine and device of a cell that runs elsewhere

    @property
    def at_work(self) -> bool:
        """Whether a process works on the cell, unless the process has died."""
        return self.state in ("training", "evaluating")

    def abandoned(self) -> CellStatus:
        """The status of a cell whose process is gone."""
        return replace(self, state="interrupted")


def write(path: Path, status: CellStatus) -> None:
    """Write the status to `path`, atomically and without scalars that are not finite. May raise OSError."""
    scalars = {name: float(value) for name, value in status.scalars.items() if math.isfinite(value)}
    changed = status.changed or datetime.now(UTC).isoformat(timespec="seconds")
    text = json_text(asdict(replace(status, scalars=scalars, changed=changed)))
    write_bytes(path, text.encode("utf-8"), lasting=False)  # no result depends on it


def read(path: Path) -> CellStatus | None:
    """The status as it was written; None if it is missing or damaged."""
    try:
        return parse(read_bounded(path, LARGEST))
    except (OSError, TooLargeError):
        return None


def parse(content: bytes) -> CellStatus | None:
    """The status in the file `content`; None for anything else."""
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("state") not in STATES:
        return None
    values = {one.name: value[one.name] for one in fields(CellStatus) if one.name in value}
    if not all(_fits(found, _KINDS[name]) for name, found in values.items()):
        return None
    if not all(_fits(scalar, (int, float)) for scalar in values.get("scalars", {}).values()):
        return None
    return CellStatus(**values)


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return not isinstance(value, int | float) or abs(value) < 1e300  # neither NaN nor too large for a float


def status_text(status: CellStatus | None) -> str:
    """The status in words: `not run`, `training, update 300 of 1000`, `evaluating`, `interrupted at update 300`."""
    if status is None or status.state == "waiting":
        return "not run"
    if status.state == "training":
        return f"training, update {status.update} of {status.updates}"
    return f"interrupted at update {status.update}" if status.state == "interrupted" else status.state


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class StatusWriter:
    """Keeps a cell's status up to date from within its training. No method raises an OSError."""

    def __init__(
        self,
        write: Callable[[CellStatus], None],  # a cell folder's `write_status`
        every: float = 5.0,  # seconds between two writes of one state
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._every, self._clock = write, every, clock
        self._status = CellStatus("waiting", pid=os.getpid())
        self._written: tuple[float, int] | None = None  # when, and at which update

    def training(self, done: int, total: int, scalars: Mapping[str, float]) -> None:
        """Call this after every update and before the first. It is cheap, except for one call in `every` seconds."""
        now = self._clock()
        began = self._status.state != "training" or self._written is None
        self._status = replace(self._status, state="training", update=done, updates=total, scalars=dict(scalars))
        if began or self._written is None:
            self._write(now)
            return
        before, update = self._written
        if now - before < self._every:
            return
        newest, rate = (done - update) / (now - before), self._status.rate
        rate = newest if rate is None else NEW * newest + (1 - NEW) * rate
        left = (total - done) / rate if rate > 0 else None
        self._status = replace(self._status, rate=rate, seconds_left=left)
        self._write(now)

    def evaluating(self) -> None:
        """Call this when the training is over and scores are being computed."""
        self._change("evaluating", "")

    def interrupted(self, message: str = "") -> None:
        """Call this for a stop before the end; the same command continues from the checkpoint."""
        self._change("interrupted", message)

    def _change(self, state: str, message: str) -> None:
        self._status = replace(self._status, state=state, message=message, rate=None, seconds_left=None)
        self._write(self._clock())

    def _write(self, now: float) -> None:
        self._written = now, self._status.update
        with contextlib.suppress(OSError):
            self._store(self._status)
