"""What a training asks of other processes that make its updates with it; `bench/grid/together.py` has such ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.contract.model import Trainer


class Crew:
    """Nobody else: a training by one process."""

    @contextlib.contextmanager
    def training(self, trainer: Trainer, done: int) -> Iterator[None]:
        """Inside, all have the trainer as it is after `done` updates."""
        yield

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Inside, all make the next update."""
        yield

    def check(self, trainer: Trainer, done: int) -> None:
        """UserError where after `done` updates another's weights are not those of `trainer`."""


NOBODY = Crew()
