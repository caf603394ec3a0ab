"""A budget of training seconds as a number of updates, known before training starts: what is annealed needs to know it.

A model is timed on copies that are thrown away, so that the training itself begins as any other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bench.errors import DivergedError
from bench.grid.batches import Batches
from bench.grid.cell import Cell
from bench.grid.run_state import RunState
from bench.grid.training import Clock, one_update

WARM_UP = 2  # updates that are not counted: buffers are allocated, kernels chosen
LEAST = 5  # updates that are


def seconds_per_update(
    cells: Sequence[Cell],
    images: Tensor,  # uint8 (N, C, H, W), on `device`
    device: torch.device,
    *,
    seconds: float,  # of each model, about
    clock: Clock = time.perf_counter,
) -> list[float]:
    """The median seconds of an update of each cell's model; an update of each in turn, so that they share bad moments.

    Raises UserError where a trainer cannot be built, DivergedError, naming the model, where one diverges meanwhile.
    """
    trainers = [cell.new_trainer(_shape(images), device) for cell in cells]
    batches = [Batches(images, cell.config.batch_size, cell.seed, flip=cell.data.flip) for cell in cells]
    runs = [RunState(0, 0.0, [], {}) for _ in cells]
    times: list[list[float]] = [[] for _ in cells]

    def timed(i: int) -> bool:
        return len(times[i]) >= WARM_UP + LEAST and sum(times[i][WARM_UP:]) >= seconds

    while not all(map(timed, range(len(cells)))):
        for i, (cell, trainer, run) in enumerate(zip(cells, trainers, runs, strict=True)):
            if timed(i):
                continue
            before = run.seconds
            try:
                one_update(trainer, batches[i], run, cell.seed, clock, cell.training.precision)
            except DivergedError as error:
                raise DivergedError(f"{cell.model} diverged while it was timed: {error}") from None
            times[i].append(run.seconds - before)
    return [statistics.median(each[WARM_UP:]) for each in times]


def with_updates(cell: Cell, seconds: float, per_update: float) -> Cell:
    """The cell with as many updates as fit into `seconds`, at least one."""
    return replace(cell, config=replace(cell.config, updates=max(1, int(seconds / per_update))))


def _shape(images: Tensor) -> tuple[int, int, int]:
    c, h, w = images.shape[1:]
    return c, h, w
