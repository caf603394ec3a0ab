"""A trained model on the disk: the weights of a cell, or a folder that `bench.export` wrote. No code in them is run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bench.config.registry import MODELS
from bench.config.settings import Sections
from bench.contract import plugins
from bench.contract.model import GenerativeModel
from bench.errors import UserError, one_line
from bench.results.cell_folder import WEIGHTS
from bench.results.exported import CONFIG, read_description, read_file, read_record_of
from bench.sampling.shared import Untrained
from bench.scoring.models import maker, untrained, with_weights
from bench.storage.checkpoint import LARGEST, load_checkpoint


@dataclass(frozen=True)
class StoredModel:
    """What a file says of a trained model, and its weights."""

    path: Path  # of the weights
    label: str  # of the model, in tables
    factory: str
    settings: Mapping[str, Any]  # of the model
    image_shape: tuple[int, int, int]  # channels, height, width
    seed: int  # of its training
    state: Mapping[str, Tensor]

    def maker(self, device: torch.device) -> Callable[[], GenerativeModel]:
        """What makes the model with its first weights; UserError for code or settings that are not there."""
        return maker(self.factory, self.settings, self.image_shape, self.seed, device)

    @property
    def untrained(self) -> Untrained:
        """`maker` for another process."""
        return partial(untrained, self.factory, dict(self.settings), self.image_shape, self.seed)

    def load(self, make: Callable[[], GenerativeModel]) -> GenerativeModel:
        """What `maker` makes, with the stored weights; UserError where they do not fit."""
        return with_weights(make, self.state, str(self.path))

    def check_trusted(self, remedy: str) -> None:
        """UserError where the model is neither the suite's nor an installed package's, but code of its author's."""
        if not plugins.known(self.factory, "model", MODELS):
            raise UserError(
                f"{self.path.parent} holds a model of {one_line(self.factory)}, which is not in the suite: {remedy} "
                "to import that code, or install the package that has it"
            )


@dataclass(frozen=True)
class Scored:
    """How a stored model was scored."""

    dataset: str  # as it was asked for
    settings: Sections  # of data and evaluation


def is_stored(folder: Path) -> bool:
    """Whether the folder holds a model, and not images."""
    return (folder / WEIGHTS).is_file() or (folder / CONFIG).is_file()


def read_export(folder: Path) -> StoredModel:
    """The model in a folder that `bench.export` wrote, its weights checked against the hash in its config.json.

    Raises UserError for a file that is missing, damaged, or of another version.
    """
    about = read_description(folder)
    path = folder / WEIGHTS
    content = read_file(path, LARGEST)
    if hashlib.sha256(content).hexdigest() != about["weights_sha256"]:
        raise UserError(f"{path} is damaged, or not that of its {CONFIG}: get both again")
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no file of weights ({one_line(error)}): get it again") from None
    channels, height, width = about["image_shape"]
    shape, seed = (channels, height, width), about["training_seed"]
    return StoredModel(path, about["model"], about["factory"], about["settings"], shape, seed, state)


def read_cell(path: Path, device: torch.device | str = "cpu") -> tuple[StoredModel, Scored]:
    """The model in the model.safetensors of a finished cell, and how it was scored.

    Raises UserError for any other file.
    """
    unfit = f"{path} is no model of a finished cell: give the model.safetensors that lies beside its record"
    try:
        state, about = load_checkpoint(path, device)
    except UserError as error:
        raise UserError(unfit) from error
    try:
        settings = dict(about["config"]["model"])
        shape, seed, label = tuple(about["data"]["image_shape"]), about["training_seed"], about["model"]
        stored = StoredModel(path, label, settings.pop("factory"), settings, shape, seed, state)
        return stored, _scored(about["config"])
    except (KeyError, TypeError, ValueError):
        raise UserError(unfit) from None


def export_scored(folder: Path) -> Scored:
    """How an exported model was scored, by the record in its folder; UserError where that is missing or another's."""
    record = read_record_of(folder, read_description(folder))
    try:
        return _scored(record.data["config"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{record.path} does not say how the model was scored: export it again") from None


def _scored(config: Mapping[str, Any]) -> Scored:
    data, evaluation = (dict(config[name]) for name in ("data", "evaluation"))
    for extra in ("extractor", "seeds"):
        evaluation.pop(extra, None)
    return Scored(data.pop("source"), {"data": data, "evaluation": evaluation})
