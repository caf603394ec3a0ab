"""A contestant of a race with one training seed: its turns, its state on the disk, its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Point
from bench.errors import DivergedError
from bench.grid import say
from bench.grid.batches import Batches
from bench.grid.cell import Cell
from bench.grid.run_state import RunState
from bench.grid.training import Clock, first_bad, one_update
from bench.machine import runtime, signals
from bench.racing.lanes import Lane
from bench.racing.turns import Rules
from bench.storage.checkpoint import save_checkpoint

Measure = Callable[[GenerativeModel], float]  # the score of a model; lower is better


def together(runners: Sequence[Runner], rules: Rules, keep: Callable[[Lane], None]) -> None:
    """Turn after turn until all have ended: A, B, C, A, B, C, ...; `keep` is given what is new after each turn.

    A lane's points are kept after the state that they are of, so that a race that was stopped continues both.
    """
    targets = rules.targets()
    while not all(runner.lane.ended for runner in runners):
        target = next(targets)
        for runner in runners:
            if not runner.lane.ended and runner.turn(target):
                keep(runner.lane)


@dataclass(frozen=True)
class Track:
    """What all runners of a race have in common."""

    images: Tensor  # uint8 (N, C, H, W), the training images, on `device`
    device: torch.device
    rules: Rules
    measure: Measure
    described: dict[str, Any]  # the data set, for the checkpoint of a trained model
    extractor: str  # likewise
    clock: Clock


class Runner:
    """One contestant with one training seed: its trainer, its state on the disk, and its lane."""

    def __init__(self, cell: Cell, lane: Lane, track: Track):
        self.cell = replace(cell, config=replace(cell.config, updates=lane.planned))
        self.lane, self.track = lane, track
        self.trainer = self.cell.new_trainer(tuple(track.images.shape[1:]), track.device)
        self.batches = Batches(track.images, self.cell.config.batch_size, self.cell.seed, flip=cell.data.flip)
        self.run = RunState.start(cell.folder, self.trainer, cell.seed)

    def turn(self, target: float) -> bool:
        """Train until `target` seconds, and score where that is due; whether the lane has something new to tell.

        The trainer's state is on the disk before its score is taken. Divergence and lack of memory end the lane.
        """
        lane, run = self.lane, self.run
        points, done = len(lane.points), run.done
        try:
            self._advance(target)
            finished = run.done == lane.planned
            scored = lane.points[-1].seconds if lane.points else 0.0
            if self.track.rules.due(run.seconds, scored) or (finished and scored < run.seconds):
                score = self._score()
                lane.points.append(Point(run.done, run.seconds, score))
                say(
                    f"{lane.contestant} seed {lane.seed}: {score:.4g} after {run.seconds:.1f} s "
                    f"({run.done} of {lane.planned} updates)"
                )
            if finished:
                self._finish()
        except DivergedError as error:
            lane.status, lane.message = "diverged", str(error)
        except (RuntimeError, MemoryError) as error:
            if not runtime.is_out_of_memory(error):
                raise
            lane.status, lane.message = "oom", runtime.out_of_memory(error)
        lane.updates, lane.seconds = run.done, run.seconds
        if lane.message:
            say(f"{lane.contestant} seed {lane.seed}: {lane.status} ({lane.message})")
        return lane.ended or len(lane.points) > points or run.done > done

    def _advance(self, target: float) -> None:
        """A signal ends it after the update, with the state saved."""
        cell, run, before = self.cell, self.run, self.run.done
        with signals.deferred() as signal:
            while run.done < self.lane.planned and run.seconds < target and not signal.noted:
                scalars = one_update(
                    self.trainer, self.batches, run, cell.seed, self.track.clock, cell.training.precision
                )
                if bad := first_bad(scalars):
                    raise DivergedError(f"{bad} became {scalars[bad]} at update {run.done}")
                run.last = scalars
            if run.done > before:
                run.log(run.last)
                try:
                    run.save(self.cell.folder, self.trainer, self.cell.seed)
                except DivergedError as error:
                    raise DivergedError(f"{error} at update {run.done}") from None

    def _score(self) -> float:
        try:
            return self.track.measure(self.trainer.model)
        except DivergedError as error:
            raise DivergedError(f"{error}, in the samples at update {self.run.done}") from None

    def _finish(self) -> None:
        """Keep the trained model, for `python -m bench.evaluate`."""
        cell = self.cell
        description = {
            "dataset": cell.dataset,
            "model": cell.model,
            "training_seed": cell.seed,
            "data": self.track.described,
            "config": cell.settings(self.track.extractor),
        }
        save_checkpoint(cell.folder.weights_path, self.trainer.model.state_dict(), description)
        self.lane.status = "finished"
