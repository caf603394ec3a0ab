"""A search from the command's request to its table: as many trials as were asked for, those that are there included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.data import ImageData
from bench.errors import UserError
from bench.evaluation import Yardstick
from bench.grid import say
from bench.grid.cell import Cell
from bench.grid.request import Request, plan
from bench.grid.training import Clock
from bench.machine import runtime
from bench.results.locks import lock, taken
from bench.tuning import table, trial
from bench.tuning.space import Dimension, space
from bench.tuning.study import Study, optuna
from bench.tuning.trial import Outcome

REPORTED = 100  # the first training seed of results that are reported


@dataclass(frozen=True)
class Budget:
    """What a search may cost; the same for every model of a comparison."""

    trials: int
    seconds: float  # of training, a trial
    sampler: str = "tpe"  # of bench.tuning.study.SAMPLERS
    seed: int = 0  # of the sampler


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    outcomes: list[Outcome]
    validation: int  # images
    metric: str  # that scored them, with its extractor


def run(request: Request, budget: Budget, *, clock: Clock | None = None) -> Found:
    """The outcomes of all trials of a request of one model and one data set, with its validation images.

    The trials take the request's training seeds in turn. Raises UserError: no Optuna, seeds of reported results, a
    model that declares nothing to search, a folder with another search or one that another process works on.
    """
    check_seeds(request.seeds)
    optuna()
    device = request.setup.configure()
    clock = clock or runtime.stopwatch(device)
    cells = plan(request)
    first = cells[0]
    dimensions = space(type(first.config), first.model, fixed=request.overrides.get(first.model, {}))
    if not first.data.validation:
        raise UserError("data.validation=0 leaves nothing to tune on: set how many training images are set apart")
    data = request.setup.images(first.source, first.data)
    for note in data.notes:
        say(f"{data.name}: {note}")
    own = lock(request.out, "tuning")
    if not taken(own):
        raise UserError(f"another process works on --out {request.out}: wait for it, or choose another --out")
    try:
        yardstick = Yardstick(
            data.validation,
            request.setup.extractor,
            first.evaluation,
            what="validation",
            key=data.content_hash,
            cache=request.setup.cache,
        )
        settings = identity(request, first, data, dimensions, budget) | {
            "machine": {"device": runtime.device_name(device.type), "threads": runtime.environment(device)["threads"]}
        }
        images = data.train.to(device)

        def objective(cell: Cell, tried: dict[str, Any]) -> Outcome:
            return trial.run(cell, tried, images, yardstick, device, seconds=budget.seconds, clock=clock)

        study = Study(request.out, settings, sampler=budget.sampler, seed=budget.seed)
        return Found(
            complete(study, cells, dimensions, budget.trials, objective), len(data.validation), yardstick.label
        )
    finally:
        own.release()


def complete(
    study: Study,
    cells: list[Cell],  # one for each training seed
    dimensions: tuple[Dimension, ...],
    trials: int,
    objective: Callable[[Cell, dict[str, Any]], Outcome],
) -> list[Outcome]:
    """Run the trials that are missing; the table is written after each."""
    outcomes = study.outcomes()
    out = cells[0].out
    table.write(out, outcomes)
    while len(outcomes) < trials:
        cell = cells[len(outcomes) % len(cells)]
        asked, tried = study.ask(dimensions, cell.config)
        found = objective(cell, tried)
        study.tell(asked, found)
        outcomes = study.outcomes()
        table.write(out, outcomes)
        shown = " ".join(f"{name}={table.plain(value)}" for name, value in tried.items())
        came_to = f"score {found.score:.4g}" if found.score is not None else f"{found.status} ({found.message})"
        say(
            f"[{len(outcomes)}/{trials}] {shown}: {came_to}; seed {found.seed}, {found.updates} updates in "
            f"{found.seconds:.1f} s"
        )
    return outcomes


def check_seeds(seeds: tuple[int, ...]) -> None:
    """UserError for a training seed that results are reported with: what they were tuned on must not be reported."""
    reported = [seed for seed in seeds if seed >= REPORTED]
    if reported:
        raise UserError(
            f"--seeds {reported[0]}: reported seeds begin at {REPORTED}, so tuning takes 0 to {REPORTED - 1}"
        )


def identity(
    request: Request, cell: Cell, data: ImageData, dimensions: tuple[Dimension, ...], budget: Budget
) -> dict[str, Any]:
    """All that decides what a trial comes to, but its number, its machine and its time: JSON values."""
    config = {name: value for name, value in cell.model_settings().items() if name != "updates"}
    evaluation = cell.evaluation
    return {
        "dataset": cell.dataset,
        "data": {**cell.data.settings(), "content_hash": data.content_hash},
        "model": {"name": cell.model, **config},
        "search": {one.key: asdict(one) for one in dimensions},
        "evaluation": {
            "extractor": request.setup.extractor.label,
            "metrics": list(evaluation.metrics),
            "lead": evaluation.lead,
            "samples": evaluation.samples,
        },
        **({"training": told} if (told := cell.training.arithmetic()) else {}),
        "seeds": list(request.seeds),
        "seconds": budget.seconds,
        "sampler": [budget.sampler, budget.seed],
    }
