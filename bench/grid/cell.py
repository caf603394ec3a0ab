"""One cell of the grid: a data set, a model, a training seed, and all settings that decide what comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench.contract.config import ModelConfig
from bench.contract.model import GenerativeModel, Trainer
from bench.contract.precision import check_precision
from bench.contract.seeds import seeded
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import EvaluationConfig
from bench.grid.training import TrainingConfig
from bench.results.cell_folder import CellFolder

PARTS = ("config", "model", "networks", "step", "state_dict", "load_state_dict")  # of a trainer


@dataclass(frozen=True)
class Cell:
    """Everything that decides a cell's result, but for the images themselves; and where the result goes."""

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
    out: Path

    @property
    def folder(self) -> CellFolder:
        return CellFolder(self.out, self.dataset, self.model, self.seed)

    @property
    def title(self) -> str:
        """Its name in what is said of a run."""
        return f"{self.dataset} {self.model} seed {self.seed}"

    def model_settings(self) -> dict[str, Any]:
        """The record's `config.model`."""
        return {"factory": self.model_name, **asdict(self.config)}

    def settings(self, extractor: str) -> dict[str, Any]:
        """The record's `config`."""
        return {
            "data": {"source": self.source, **self.data.settings()},
            "model": self.model_settings(),
            "evaluation": {"extractor": extractor, "seeds": self.evaluation_seeds, **asdict(self.evaluation)},
            **({"training": watched} if (watched := self.training.settings()) else {}),
        }

    def check_device(self, device: torch.device) -> None:
        """UserError where `device` cannot compute in the precision of training."""
        try:
            check_precision(self.training.precision, device, "training.precision")
        except ValueError as error:
            raise UserError(str(error)) from None

    def new_trainer(self, image_shape: tuple[int, int, int], device: torch.device) -> Trainer:
        """The trainer before its first update; UserError when it cannot take the images or breaks the contract."""
        self.check_device(device)
        generator = seeded(self.seed, "weights")
        try:
            trainer = self.factory(self.config, image_shape, generator=generator, device=device)
        except ValueError as error:
            raise UserError(f"{self.model} cannot be built for {self.dataset} {image_shape}: {error}") from None
        missing = [part for part in PARTS if not hasattr(trainer, part)]
        if missing:
            raise UserError(
                f"the trainer of {self.model} lacks {', '.join(missing)}: see docs/models.md for the contract"
            )
        model = trainer.model
        if not isinstance(model, GenerativeModel):
            raise UserError(
                f"{self.model}: its model is no GenerativeModel: derive it from bench.contract.model.GenerativeModel"
            )
        if model.reconstructs_by_inversion and "observe" not in inspect.signature(model.reconstruct).parameters:
            raise UserError(
                f"{self.model}: its model's reconstruct takes no `observe`: see docs/models.md for the contract"
            )
        return trainer
