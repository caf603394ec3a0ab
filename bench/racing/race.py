"""The race: contestants take turns on one machine, and only their training is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from bench.contract.model import GenerativeModel
from bench.data import ImageData
from bench.engines import worker
from bench.engines.prepared import pinned
from bench.engines.worker import NEWS, Tell, Worker
from bench.errors import DivergedError, UserError
from bench.evaluation import Yardstick
from bench.grid import say, space
from bench.grid.budget import seconds_per_update, with_updates
from bench.grid.cell import Cell
from bench.grid.request import Request, plan
from bench.grid.training import Clock
from bench.machine import runtime
from bench.racing import output
from bench.racing.lanes import Lane, Race
from bench.racing.runner import Runner, Track, together
from bench.racing.turns import Rules
from bench.results.locks import lock, taken
from bench.results.record import first_difference

PAUSE = 1.0  # seconds between looks at the processes
TIMED = 0.02  # of the race is spent besides it, on timing each contestant's update


def run(
    request: Request,
    rules: Rules,
    *,
    reach: Sequence[float] = (),
    base: str = "",
    jobs: int = 1,
    clock: Clock | None = None,
) -> Race:
    """The race of a request of one data set, to its end; what is there of it already is not run again.

    Seeds race one after the other, so that no more trainers are held than there are contestants. `jobs` processes
    share the contestants. Raises UserError: a folder with another race or one that another process works on, and what
    cannot be planned.
    """
    device = request.setup.configure()
    clock = clock or runtime.stopwatch(device)
    cells = plan(request)
    jobs = min(jobs, len(request.models))
    output.check_base([cell.model for cell in cells], base)
    space.refuse_unwritable(request.out)
    own = lock(request.out, "race")
    if not taken(own):
        raise UserError(f"another process works on --out {request.out}: wait for it, or choose another --out")
    try:
        images = prepared(request, cells[0])
        race = opened(request, cells, *images, rules, jobs, device, clock)

        def keep(lane: Lane) -> None:
            race.put(lane)
            race.write(request.out)
            output.write_csv(request.out, race)

        for cell in cells:
            lane_of(race, cell, rules)  # all of them, in this order
        if jobs == 1:
            shared(request, cells, *images, rules, race, clock, keep)
        else:
            side_by_side(request, rules, race, jobs, keep)
        for cell in cells:
            if lane_of(race, cell, rules).status == "finished":
                cell.folder.discard_checkpoints()  # goes when all else is on the disk
        output.write(request.out, race, reach=reach, base=base)
        return race
    finally:
        own.release()


def shared(
    request: Request,
    cells: Sequence[Cell],
    data: ImageData,
    yardstick: Yardstick,
    rules: Rules,
    race: Race,
    clock: Clock,
    keep: Callable[[Lane], None],
) -> None:
    """The lanes of these cells, a seed after the other, in this process; `keep` is given what is new after a turn."""

    def measure(model: GenerativeModel) -> float:
        return yardstick.score(model, request.evaluation_seeds[0]).value

    device, label = request.setup.device, request.setup.extractor.label
    track = Track(data.train.to(device), device, rules, measure, data.describe(), label, clock)
    for seed in request.seeds:
        lanes = [(cell, lane_of(race, cell, rules)) for cell in cells if cell.seed == seed]
        together([Runner(cell, lane, track) for cell, lane in lanes if not lane.ended], rules, keep)


def share(request: Request, rules: Rules, first: int, jobs: int, tell: Tell) -> None:
    """Every `jobs`-th contestant from the `first` on: the work of one process of several, which tells NEWS of lanes."""
    device = request.setup.configure()
    race = Race.read(request.out)
    if race is None:
        raise UserError(f"{request.out} has lost its race: choose another --out")
    cells = [cell for cell in plan(request) if cell.model in race.contestants[first::jobs]]
    images = prepared(request, cells[0])
    clock = runtime.stopwatch(device)
    shared(request, cells, *images, rules, race, clock, lambda lane: tell(NEWS, asdict(lane)))


def side_by_side(request: Request, rules: Rules, race: Race, jobs: int, keep: Callable[[Lane], None]) -> None:
    """The whole race in `jobs` processes; a signal or an error ends all of them, which save, and is raised."""
    setup = request.setup
    quiet = replace(request, setup=replace(setup, progress=False, extractor_choice=pinned(setup)))
    workers = [Worker(first, partial(share, quiet, rules, first, jobs)) for first in range(jobs)]
    try:
        while workers:
            worker.wait(workers, PAUSE)
            for one in list(workers):
                for line in one.read():
                    say(line)
                while one.news:
                    keep(Lane.of(one.news.pop(0)))
                if one.ended:
                    workers.remove(one)
                    if one.error is not None:
                        raise UserError(one.error)
                    if one.killed_by:
                        raise UserError(
                            f"a process of the race was ended by {one.killed_by}: the same command continues it; give "
                            "fewer --jobs if memory ran out"
                        )
                    if one.exit_status:
                        raise SystemExit(one.exit_status)
    finally:
        worker.end_all(workers, PAUSE, say)


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
    jobs: int,
    device: torch.device,
    clock: Clock,
) -> Race:
    """The race of the folder, or a new one, its contestants timed. UserError where the folder holds another one."""
    contestants = [cell for cell in cells if cell.seed == cells[0].seed]
    environment = runtime.environment(device)
    settings = identity(request, contestants, data, rules, jobs, environment)
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
    request: Request,
    contestants: Sequence[Cell],
    data: ImageData,
    rules: Rules,
    jobs: int,
    environment: dict[str, Any],
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
        "machine": {**{name: environment[name] for name in ("device", "threads")}, "jobs": jobs},
    }


def lane_of(race: Race, cell: Cell, rules: Rules) -> Lane:
    """The cell's lane, with the number of updates that fits into the race."""
    planned = with_updates(cell, rules.seconds, race.seconds_per_update[cell.model]).config.updates
    return race.lane(cell.model, cell.seed, planned)
