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

from bench import runtime
from bench.checkpoint import save_checkpoint
from bench.data import DataConfig
from bench.errors import NotFiniteError, UserError
from bench.evaluation import COLUMNS, ROWS, EvaluationConfig, Evaluator, Picture
from bench.model import GenerativeModel, ModelConfig, Trainer, count_parameters
from bench.records import RECORD_NAME, SCHEMA, write_bytes, write_json
from bench.seeds import in_blocks, seeded
from bench.training import CHECKPOINT, LOG, TrainingConfig, TrainingResult, train

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

    def settings(self, extractor: str) -> dict[str, Any]:
        """The record's `config`."""
        return {
            "data": {"source": self.source, **asdict(self.data)},
            "model": {"factory": self.model_name, **asdict(self.config)},
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
    """Train, evaluate and record one cell; its status, `finished` or `diverged`."""
    images, started = evaluator.data, time.monotonic()
    trainer = new_trainer(cell, images.image_shape, device)

    def save_grid(update: int) -> None:
        with torch.no_grad():
            blocks = list(
                in_blocks(trainer.model.sample, ROWS * COLUMNS, cell.evaluation_seeds[0], "sample", device=device)
            )
        path = cell.folder / "grids" / f"update-{update:07d}.png"
        write_bytes(path, png(Picture.of(torch.cat(blocks), COLUMNS)))

    result, evaluation, message = TrainingResult(0, 0.0, {}), None, ""
    try:
        result = train(
            trainer,
            images.train.to(device),
            seed=cell.seed,
            folder=cell.folder,
            config=cell.training,
            save_grid=save_grid,
            title=title,
            progress=progress,
        )
        message = result.stopped
        if not message:
            evaluation = evaluator.evaluate(trainer.model, cell.evaluation_seeds)
    except NotFiniteError as error:
        message = str(error)
    status = "diverged" if evaluation is None else "finished"
    pictures = evaluation.pictures if evaluation else {}
    record = {
        "schema": SCHEMA,
        "dataset": cell.dataset,
        "model": cell.model,
        "training_seed": cell.seed,
        "evaluation_seeds": list(cell.evaluation_seeds),
        "status": status,
        "message": message,
        "profile": profile,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": images.describe(),
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
    for name, picture in pictures.items():
        write_bytes(cell.folder / f"{name}.png", png(picture))
    if evaluation:
        description = {key: record[key] for key in ("dataset", "model", "training_seed", "data", "config")}
        save_checkpoint(cell.folder / MODEL, trainer.model.state_dict(), description)
    write_json(cell.folder / RECORD_NAME, record)
    (cell.folder / CHECKPOINT).unlink(missing_ok=True)
    say(f"{title}: {status}{': ' if message else ''}{message} after {time.monotonic() - started:.0f} s")
    return status


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
