"""One trial: train for a budget of seconds with one set of settings, and score it on the validation images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.config.settings import build
from bench.errors import DivergedError
from bench.evaluation import Yardstick
from bench.grid.batches import Batches
from bench.grid.budget import seconds_per_update, with_updates
from bench.grid.cell import Cell
from bench.grid.run_state import RunState
from bench.grid.training import Clock, first_bad, one_update
from bench.machine import runtime

TIMED = 0.03  # of the budget is spent besides it, on timing an update


@dataclass(frozen=True)
class Outcome:
    """What a trial came to."""

    settings: Mapping[str, Any]  # those that were tried
    seed: int  # of training
    status: str  # finished, diverged or oom
    message: str = ""  # why it is not finished
    score: float | None = None  # of a finished one
    seconds: float = 0.0  # of training
    updates: int = 0


def run(
    cell: Cell,
    settings: Mapping[str, Any],
    images: Tensor,  # uint8 (N, C, H, W), the training images, on `device`
    yardstick: Yardstick,
    device: torch.device,
    *,
    seconds: float,
    clock: Clock,
) -> Outcome:
    """Train `cell` with `settings` in place of its own. Divergence and lack of memory are outcomes.

    The number of updates is known before the training begins, so that its annealing ends where it should: what fits
    into `seconds` by the time of an update, measured first. UserError for settings that the model does not take.
    """
    config = build(type(cell.config), asdict(cell.config) | settings, cell.model)
    run, found = RunState(0, 0.0, [], {}), Outcome(settings, cell.seed, "finished")
    try:
        cell = replace(cell, config=config)
        (each,) = seconds_per_update([cell], images, device, seconds=TIMED * seconds, clock=clock)
        cell = with_updates(cell, seconds, each)
        trainer = cell.new_trainer(tuple(images.shape[1:]), device)
        batches = Batches(images, cell.config.batch_size, cell.seed, flip=cell.data.flip)
        while run.done < cell.config.updates:
            scalars = one_update(trainer, batches, run, cell.seed, clock, cell.training.precision)
            if bad := first_bad(scalars):
                raise DivergedError(f"{bad} became {scalars[bad]} at update {run.done}")
        found = replace(found, score=yardstick.score(trainer.model, cell.seed).value)
    except DivergedError as error:
        found = replace(found, status="diverged", message=str(error))
    except (RuntimeError, MemoryError) as error:
        if not runtime.is_out_of_memory(error):
            raise
        found = replace(found, status="oom", message=runtime.out_of_memory(error))
    return replace(found, seconds=run.seconds, updates=run.done)
