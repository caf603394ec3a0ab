"""Train and evaluate one cell."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import torch

from bench.contract.seeds import in_blocks
from bench.errors import DivergedError
from bench.evaluation import COLUMNS, ROWS, Evaluator, Picture
from bench.grid import curve
from bench.grid.cell import Cell
from bench.grid.crew import NOBODY, Crew
from bench.grid.outcome import Outcome
from bench.grid.training import TrainingResult, train
from bench.machine import runtime
from bench.results.status import StatusWriter
from bench.sampling.processes import ALONE
from bench.sampling.shared import Workers
from bench.scoring import models
from bench.storage.files import write_bytes
from bench.tracking import Trackers


def run_cell(
    cell: Cell,
    evaluator: Evaluator,
    trackers: Trackers,
    *,
    device: torch.device,
    title: str,
    progress: bool,
    crew: Crew = NOBODY,
    sampling: Workers = ALONE,
) -> Outcome:
    """Train, from a checkpoint where there is one, and evaluate. Divergence and lack of memory are outcomes."""
    images = evaluator.data
    trainer, watched = cell.new_trainer(images.image_shape, device), StatusWriter(cell.folder.write_status)

    def save_grid(update: int) -> None:
        with torch.no_grad():
            blocks = in_blocks(trainer.model.sample, ROWS * COLUMNS, cell.evaluation_seeds[0], "sample", device=device)
            picture = Picture.of(torch.cat(list(blocks)), COLUMNS)
        write_bytes(cell.folder.grid_path(update), picture.png())
        trackers.picture(update, "grids", cell.folder.grid_path(update))

    untrained = partial(models.untrained, cell.model_name, asdict(cell.config), images.image_shape, cell.seed)
    result, evaluation = TrainingResult(0, 0.0, {}), None
    try:
        result = train(
            trainer,
            images.train.to(device),
            seed=cell.seed,
            folder=cell.folder,
            config=cell.training,
            flip=cell.data.flip,
            save_grid=save_grid,
            score=curve.scorer(cell, evaluator, trainer.model),
            score_of=curve.identity(cell, evaluator),
            status=watched,
            track=trackers.scalars,
            crew=crew,
            title=title,
            progress=progress,
        )
        status, message = result.status, result.message
        if status == "finished":
            watched.evaluating()
            evaluation = evaluator.evaluate(
                trainer.model,
                cell.evaluation_seeds,
                untrained=lambda: cell.new_trainer(images.image_shape, device).model,
                sampling=lambda: sampling.opened(untrained, trainer.model),
            )
    except DivergedError as error:
        status, message = "diverged", str(error)
    except BaseException as error:
        if not runtime.is_out_of_memory(error):
            watched.interrupted(str(error) or type(error).__name__)
            raise
        status, message = "oom", runtime.out_of_memory(error)
    if status == "diverged":
        message += remedy(cell)
    return Outcome(trainer, result, status, message, evaluation)


def remedy(cell: Cell) -> str:
    """What to try with a model that diverged, for its message; nothing where its configuration knows nothing."""

    def shown(value: float | tuple[float, ...]) -> str:
        return f"[{','.join(map(shown, value))}]" if isinstance(value, tuple) else f"{value:g}"

    settings = " ".join(f"{cell.model}.{name}={shown(value)}" for name, value in cell.config.steadier().items())
    return f"; try --set {settings} with another --out" if settings else ""
