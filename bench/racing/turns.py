"""Whose turn it is and how long: slices of training seconds, and the times at which scores are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.contract.config import require

FIRST = 64  # the first score is taken after so small a part of the race


@dataclass(frozen=True)
class Rules:
    """Lengths in seconds of training, of each contestant and seed."""

    seconds: float = 300.0  # of the race: the updates that a contestant plans fit into it
    slice: float = 10.0  # of a turn
    points: int = 12  # scores of a curve, at times in geometric progression

    def __post_init__(self) -> None:
        require(self, "seconds", 0 < self.seconds < float("inf"), "above 0")
        require(self, "slice", 0 < self.slice <= self.seconds, f"above 0 and at most the race, {self.seconds:g}")
        require(self, "points", self.points >= 2, "at least 2")

    @property
    def marks(self) -> list[float]:
        """The times after which a score is taken, the last of them the race's end."""
        last = self.points - 1
        return [round(self.seconds * FIRST ** (k / last - 1), 6) for k in range(last)] + [self.seconds]

    def targets(self) -> Iterator[float]:
        """The ends of the turns, without end: the multiples of the slice, and the marks between them."""
        marks, turn = self.marks, 1
        while True:
            end = turn * self.slice
            if marks and marks[0] <= end:
                turn += marks[0] == end
                yield marks.pop(0)
            else:
                turn += 1
                yield end

    def due(self, seconds: float, scored: float) -> bool:
        """Whether a score is due after `seconds`, the last one having been taken after `scored` (0: none yet)."""
        passed = [mark for mark in self.marks if mark <= seconds]
        return bool(passed) and scored < passed[-1]
