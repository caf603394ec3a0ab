"""What a cell came to, its record, and its files: the record is written last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from bench.contract.model import Trainer, count_parameters
from bench.evaluation import Evaluation, Evaluator, counts
from bench.grid import curve
from bench.grid.cell import Cell
from bench.grid.training import TrainingResult
from bench.machine import runtime
from bench.results.cell_folder import LOG
from bench.results.entries import curves_json, references_json, scores_json, throughput_json, untrained_json
from bench.results.schema import SCHEMA
from bench.storage.checkpoint import save_checkpoint
from bench.storage.files import write_bytes


@dataclass(frozen=True)
class Outcome:
    """What a cell came to."""

    trainer: Trainer
    training: TrainingResult
    status: str  # one of bench.results.schema.STATUSES
    message: str
    evaluation: Evaluation | None  # None unless finished


def record_of(
    cell: Cell, evaluator: Evaluator, outcome: Outcome, *, device: torch.device, profile: str, command: str
) -> dict[str, Any]:
    """The record of an outcome, which `docs/results.md` explains."""
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
        "latent_dimensions": trainer.model.latent_dimensions,
        "network_evaluations_per_sample": trainer.model.evaluations_per_sample,
        "sampler_step": trainer.model.step_name,
        "training": {
            "updates": result.updates,
            "planned_updates": cell.config.updates,
            "batch_size": cell.config.batch_size,
            "seconds": round(result.seconds, 3),
            "last": result.last,
            **curve.chosen(cell, evaluator, result),
        },
        "metrics": scores_json(evaluation.scores) if evaluation else [],
        "references": references_json(evaluation.references) if evaluation else {},
        "untrained": untrained_json(evaluation.untrained) if evaluation else None,
        "curves": curves_json([*evaluation.curves, *curve.curves(cell, evaluator, result)]) if evaluation else [],
        "throughput": throughput_json(evaluation.throughput) if evaluation else None,
        "environment": _environment(trainer, device),
        "images": {name: picture.describe(cell.folder.picture_path(name).name) for name, picture in pictures.items()},
        "log": LOG,
        "profile": profile,
        "protocol": counts.protocol(evaluator.data, evaluator.config, evaluator.extractor.label),
        "command": command,
    }


def _environment(trainer: Trainer, device: torch.device) -> dict[str, Any]:
    """The machine, and what the model made of it."""
    found = runtime.environment(device)
    if found["gpu"] and (kernels := trainer.model.sampler_kernels):
        found["gpu"]["sampler_kernels"] = kernels
    return found


def write(cell: Cell, outcome: Outcome, record: dict[str, Any]) -> None:
    """Pictures, weights and last the record; then what the training left goes, but for a failed one's checkpoint."""
    if outcome.evaluation:
        for name, picture in outcome.evaluation.pictures.items():
            write_bytes(cell.folder.picture_path(name), picture.png())
        description = {key: record[key] for key in ("dataset", "model", "training_seed", "data", "config")}
        save_checkpoint(cell.folder.weights_path, outcome.trainer.model.state_dict(), description)
    cell.folder.finish(record)
