"""What a run of many cells shows: lines that stay, and below them one for each cell that is being worked on."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence

from bench.errors import one_line
from bench.results.status import CellStatus, duration, status_text

EVERY = 1.0  # seconds between two looks of a terminal
SELDOM = 60.0  # of a file or a pipe, which keeps every line


def line_of(title: str, status: CellStatus | None) -> str:
    """`digits ebm seed 0: training, update 300 of 1000, 12.5 updates/s, 56 s left`."""
    words = ["starting" if status is None or status.state == "waiting" else status_text(status)]
    if status is not None and status.state == "training":
        words += [] if status.rate is None else [f"{status.rate:.3g} updates/s"]
        words += [] if status.seconds_left is None else [f"{duration(status.seconds_left)} left"]
    words += [status.node] if status is not None and status.node else []
    return f"{title}: {', '.join(words)}"


class Display:
    """Lines on standard error. On a terminal those of cells at work are drawn again in place."""

    def __init__(self, progress: bool, clock: Callable[[], float] = time.monotonic):
        self._progress, self._clock = progress, clock
        self._terminal = sys.stderr.isatty()
        self._drawn = 0  # lines at the terminal's bottom that the next drawing replaces
        self._last = clock() if not self._terminal else -EVERY

    def say(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    def show(self, lines: Callable[[], Sequence[str]]) -> None:
        """Show the cells at work, if it is time to; call this often."""
        now = self._clock()
        if not self._progress or now - self._last < (EVERY if self._terminal else SELDOM):
            return
        self._last = now
        self.clear()
        found = lines()
        if not self._terminal:
            print("\n".join(found), file=sys.stderr, flush=True)
            return
        columns = max(20, shutil.get_terminal_size().columns - 1)  # a line that wraps would be two
        print("".join(one_line(line, columns) + "\n" for line in found), end="", file=sys.stderr, flush=True)
        self._drawn = len(found)

    def clear(self) -> None:
        """Take the lines of cells at work away."""
        if self._drawn:
            print(f"\x1b[{self._drawn}F\x1b[J", end="", file=sys.stderr, flush=True)
            self._drawn = 0
