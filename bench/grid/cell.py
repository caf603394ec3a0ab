"""One cell: train, evaluate, record. A cell is finished when its record is there, and the record is written last."""

from __future__ import annotations

import inspect
import io
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.contract.config import ModelConfig
from bench.contract.model import GenerativeModel, Trainer, count_parameters
from bench.contract.seeds import in_blocks, seeded
from bench.data import DataConfig
from bench.errors import DivergedError, UserError
from bench.evaluation import COLUMNS, ROWS, Evaluation, EvaluationConfig, Evaluator, Picture
from bench.grid.run_state import LOG, discard_checkpoints
from bench.grid.training import TrainingConfig, TrainingResult, train
from bench.machine import runtime
from bench.results.layout import RECORD_NAME
from bench.results.locks import sweep
from bench.results.record import SCHEMA, write_record
from bench.results.status import StatusWriter, clear_status
from bench.storage.checkpoint import save_checkpoint
from bench.storage.files import write_bytes

MODEL = "model.safetensors"
PARTS = ("config", "model", "networks", "step", "state_dict", "load_state_dict")  # of a trainer


@dataclass(frozen=True)
class Cell:
    """Everything that decides a cell's result, but for the images themselves."""

    source: str  # the data set as it was asked for
    dataset: str  # its label
    model: str  # its label
    model_name: str  # as it was asked for
    factory: Callable[..., Trainer]
    seed: int
    data: DataConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    evaluation_seeds: tuple[int, ...]
    config: ModelConfig
    folder: Path

    def model_settings(self) -> dict[str, Any]:
        """The record's `config.model`."""
        return {"factory": self.model_name, **asdict(self.config)}

    def settings(self, extractor: str) -> dict[str, Any]:
        """The record's `config`."""
        return {
            "data": {"source": self.source, **asdict(self.data)},
            "model": self.model_settings(),
            "evaluation": {"extractor": extractor, "seeds": self.evaluation_seeds, **asdict(self.evaluation)},
        }


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, file=sys.stderr, flush=True)


def new_trainer(cell: Cell, image_shape: tuple[int, int, int], device: torch.device) -> Trainer:
    """The cell's trainer before its first update; UserError when it cannot take the images or breaks the contract."""
    generator = seeded(cell.seed, "weights")
    try:
        trainer = cell.factory(cell.config, image_shape, generator=generator, device=device)
    except ValueError as error:
        raise UserError(f"{cell.model} cannot be built for {cell.dataset} {image_shape}: {error}") from None
    missing = [part for part in PARTS if not hasattr(trainer, part)]
    if missing:
        raise UserError(f"the trainer of {cell.model} lacks {', '.join(missing)}: see docs/models.md for the contract")
    if not isinstance(trainer.model, GenerativeModel):
        raise UserError(f"{cell.model}: its model is no GenerativeModel: derive it from bench.model.GenerativeModel")
    model = trainer.model
    if model.reconstructs_by_inversion and "observe" not in inspect.signature(model.reconstruct).parameters:
        raise UserError(
            f"{cell.model}: its model's reconstruct takes no `observe`: see docs/models.md for the contract"
        )
    return trainer


def run_cell(
    cell: Cell,
    evaluator: Evaluator,
    *,
    device: torch.device,
    profile: str,
    command: str,
    title: str,
    progress: bool,
) -> str:
    """Train, evaluate and record one cell; its status, one of `records_schema.STATUSES`. The caller holds its lock."""
    started = time.monotonic()
    sweep(cell.folder)
    outcome = attempt(cell, evaluator, device=device, title=title, progress=progress)
    record = record_of(cell, evaluator, outcome, device) | {"profile": profile, "command": command}
    write_outcome(cell, record, outcome)
    message = f"{': ' if outcome.message else ''}{outcome.message}"
    say(f"{title}: {outcome.status}{message} after {time.monotonic() - started:.0f} s")
    return outcome.status


@dataclass(frozen=True)
class Outcome:
    """What a cell came to."""

    trainer: Trainer
    training: TrainingResult
    status: str
    message: str
    evaluation: Evaluation | None


def attempt(cell: Cell, evaluator: Evaluator, *, device: torch.device, title: str, progress: bool) -> Outcome:
    """Train, from a checkpoint where there is one, and evaluate."""
    images = evaluator.data
    trainer, watched = new_trainer(cell, images.image_shape, device), StatusWriter(cell.folder)

    def save_grid(update: int) -> None:
        with torch.no_grad():
            blocks = list(
                in_blocks(trainer.model.sample, ROWS * COLUMNS, cell.evaluation_seeds[0], "sample", device=device)
            )
        path = cell.folder / "grids" / f"update-{update:07d}.png"
        write_bytes(path, png(Picture.of(torch.cat(blocks), COLUMNS)))

    result, evaluation, status, message = TrainingResult(0, 0.0, {}), None, "finished", ""
    try:
        result = train(
            trainer,
            images.train.to(device),
            seed=cell.seed,
            folder=cell.folder,
            config=cell.training,
            save_grid=save_grid,
            status=watched,
            title=title,
            progress=progress,
        )
        status, message = result.status, result.message
        if status == "finished":
            watched.evaluating()
            evaluation = evaluator.evaluate(trainer.model, cell.evaluation_seeds)
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


def record_of(cell: Cell, evaluator: Evaluator, outcome: Outcome, device: torch.device) -> dict[str, Any]:
    """The record, but for what the whole run has in common."""
    evaluation, result, trainer = outcome.evaluation, outcome.training, outcome.trainer
    pictures = evaluation.pictures if evaluation else {}
    return {
        "schema": SCHEMA,
        "dataset": cell.dataset,
        "model": cell.model,
        "training_seed": cell.seed,
        "evaluation_seeds": list(cell.evaluation_seeds),
        "status": outcome.status,
        "message": outcome.message,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": evaluator.data.describe(),
        "config": cell.settings(evaluator.extractor.label),
        "parameters": count_parameters(trainer.model.sampler),
        "parameters_trained": count_parameters(*trainer.networks),
        "network_evaluations_per_sample": trainer.model.evaluations_per_sample,
        "training": {
            "updates": result.updates,
            "planned_updates": cell.config.updates,
            "batch_size": cell.config.batch_size,
            "seconds": round(result.seconds, 3),
            "last": result.last,
        },
        "metrics": evaluation.metrics if evaluation else [],
        "references": evaluation.references if evaluation else {},
        "curves": evaluation.curves if evaluation else [],
        "throughput": evaluation.throughput if evaluation else None,
        "environment": runtime.environment(device),
        "images": {name: describe(name, picture) for name, picture in pictures.items()},
        "log": LOG,
    }


def write_outcome(cell: Cell, record: dict[str, Any], outcome: Outcome) -> None:
    """Pictures, weights and last the record; then what the training left goes, but for a failed one's checkpoint."""
    if outcome.evaluation:
        for name, picture in outcome.evaluation.pictures.items():
            write_bytes(cell.folder / f"{name}.png", png(picture))
        description = {key: record[key] for key in ("dataset", "model", "training_seed", "data", "config")}
        save_checkpoint(cell.folder / MODEL, outcome.trainer.model.state_dict(), description)
    write_record(cell.folder / RECORD_NAME, record)
    clean(cell.folder, outcome.status)


def clean(folder: Path, status: str) -> None:
    """Remove what a recorded cell no longer needs. The last finite checkpoint of one that failed stays."""
    clear_status(folder)
    if status == "finished":
        discard_checkpoints(folder)


def describe(name: str, picture: Picture) -> dict[str, Any]:
    """A picture's entry in the record."""
    labels = {"labels": list(picture.labels)} if picture.labels else {}
    return {"file": f"{name}.png", "rows": picture.rows, "columns": picture.columns, **labels}


def png(picture: Picture) -> bytes:
    """The picture as a PNG file, grey or RGB."""
    array = picture.image.permute(1, 2, 0).squeeze(2).numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG", optimize=True)
    return file.getvalue()
