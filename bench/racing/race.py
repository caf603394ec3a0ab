"""The race: contestants take turns on one machine, and only their training is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Point
from bench.data import ImageData
from bench.errors import DivergedError, UserError
from bench.evaluation import Yardstick
from bench.grid import say, space
from bench.grid.batches import Batches
from bench.grid.budget import seconds_per_update, with_updates
from bench.grid.cell import Cell
from bench.grid.request import Request, plan
from bench.grid.run_state import RunState
from bench.grid.training import Clock, first_bad, one_update
from bench.machine import runtime, signals
from bench.racing import output
from bench.racing.lanes import Lane, Race
from bench.racing.turns import Rules
from bench.results.locks import lock, taken
from bench.results.record import first_difference
from bench.storage.checkpoint import save_checkpoint

TIMED = 0.02  # of the race is spent besides it, on timing each contestant's update

Measure = Callable[[GenerativeModel], float]  # the score of a model; lower is better


def run(
    request: Request,
    rules: Rules,
    *,
    reach: Sequence[float] = (),
    base: str = "",
    clock: Clock | None = None,
) -> Race:
    """The race of a request of one data set, to its end; what is there of it already is not run again.

    Seeds race one after the other, so that no more trainers are held than there are contestants. Raises UserError: a
    folder with another race or one that another process works on, and what cannot be planned.
    """
    device = request.setup.configure()
    clock = clock or runtime.stopwatch(device)
    cells = plan(request)
    output.check_base([cell.model for cell in cells], base)
    space.refuse_unwritable(request.out)
    own = lock(request.out, "race")
    if not taken(own):
        raise UserError(f"another process works on --out {request.out}: wait for it, or choose another --out")
    try:
        data, yardstick = prepared(request, cells[0])
        race = opened(request, cells, data, yardstick, rules, device, clock)

        def measure(model: GenerativeModel) -> float:
            return yardstick.score(model, request.evaluation_seeds[0]).value

        label = request.setup.extractor.label
        track = Track(data.train.to(device), device, rules, measure, data.describe(), label, clock)
        for seed in request.seeds:
            lanes = [(cell, lane_of(race, cell, rules)) for cell in cells if cell.seed == seed]
            together([Runner(cell, lane, track) for cell, lane in lanes if not lane.ended], rules, race, request.out)
            for cell, lane in lanes:
                if lane.status == "finished":  # what a longer training would need goes when all else is on the disk
                    cell.folder.discard_checkpoints()
        output.write(request.out, race, reach=reach, base=base)
        return race
    finally:
        own.release()


def prepared(request: Request, cell: Cell) -> tuple[ImageData, Yardstick]:
    """The images and what scores against them: the same training images as in the grid's tables."""
    evaluation, setup = cell.evaluation, request.setup
    data = setup.images(cell.source, cell.data, spare=max(0, evaluation.samples - cell.data.held_out))
    for note in data.notes:
        say(f"{data.name}: {note}")
    real = data.train[: evaluation.real or None]
    return data, Yardstick(real, setup.extractor, evaluation, what="train", key=data.content_hash, cache=setup.cache)


def opened(
    request: Request,
    cells: Sequence[Cell],
    data: ImageData,
    yardstick: Yardstick,
    rules: Rules,
    device: torch.device,
    clock: Clock,
) -> Race:
    """The race of the folder, or a new one, its contestants timed. UserError where the folder holds another one."""
    contestants = [cell for cell in cells if cell.seed == cells[0].seed]
    environment = runtime.environment(device)
    settings = identity(request, contestants, data, rules, environment)
    race = Race.read(request.out)
    if race is not None:
        difference = first_difference(race.settings, settings)
        if difference:
            raise UserError(f"{request.out} holds another race ({difference}): choose another --out")
        return race
    real = yardstick.of_real(torch.cat([data.held_out, data.spare]) if len(data.spare) else data.held_out)
    images = data.train.to(device)
    try:
        times = seconds_per_update(contestants, images, device, seconds=TIMED * rules.seconds, clock=clock)
    except DivergedError as error:
        raise UserError(f"{error}: race without it, or with other settings") from None
    per_update = {cell.model: each for cell, each in zip(contestants, times, strict=True)}
    race = Race(settings, environment, request.command, real.label, real.value, per_update)
    race.write(request.out)
    return race


def identity(
    request: Request, contestants: Sequence[Cell], data: ImageData, rules: Rules, environment: dict[str, Any]
) -> dict[str, Any]:
    """All that decides a race but its seeds: JSON values."""
    first = contestants[0]
    models = {cell.model: cell.model_settings() for cell in contestants}
    return {
        "dataset": first.dataset,
        "data": {**first.data.settings(), "content_hash": data.content_hash},
        "contestants": {name: {k: v for k, v in own.items() if k != "updates"} for name, own in models.items()},
        "evaluation": {
            "extractor": request.setup.extractor.label,
            "metrics": list(first.evaluation.metrics),
            "lead": first.evaluation.lead,
            "samples": first.evaluation.samples,
            "real": first.evaluation.real,
            "seed": request.evaluation_seeds[0],
        },
        **({"training": told} if (told := first.training.arithmetic()) else {}),
        **asdict(rules),
        "machine": {name: environment[name] for name in ("device", "threads")},
    }


def lane_of(race: Race, cell: Cell, rules: Rules) -> Lane:
    """The cell's lane, with the number of updates that fits into the race."""
    planned = with_updates(cell, rules.seconds, race.seconds_per_update[cell.model]).config.updates
    return race.lane(cell.model, cell.seed, planned)


def together(runners: Sequence[Runner], rules: Rules, race: Race, out: Path) -> None:
    """Turn after turn until all have ended: A, B, C, A, B, C, ...; what is known is written after each turn.

    A lane's points are written after the state that they are of, so that a race that was stopped continues both.
    """
    targets = rules.targets()
    while not all(runner.lane.ended for runner in runners):
        target = next(targets)
        for runner in runners:
            if not runner.lane.ended and runner.turn(target):
                race.write(out)
                output.write_csv(out, race)


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
