"""Weights & Biases: a run for each cell, with files below `tracking`. WANDB_MODE=offline keeps it on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from bench.results.cell_folder import CellFolder
from bench.tracking import FOLDER, title


class WeightsAndBiases:
    """A run whose id is a function of the results folder and the cell, so that a resumed cell goes on with it."""

    def __init__(self, run: Any):
        self.run = run

    def scalars(self, update: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=update)

    def picture(self, update: int, name: str, path: Path) -> None:
        self.run.log({name: wandb.Image(str(path))}, step=update)

    def close(self, status: str) -> None:
        self.run.summary["status"] = status or "interrupted"
        self.run.finish(exit_code=0 if status == "finished" else 1)


def start(folder: CellFolder, config: Mapping[str, Any]) -> WeightsAndBiases:
    """WANDB_PROJECT names the project (by default shortrun), and wandb's own settings say where it is sent."""
    place = folder.out / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {} if wandb.setup().settings.project else {"project": "shortrun"}
    return WeightsAndBiases(
        wandb.init(
            dir=str(place),
            id=hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()[:16],
            resume="allow",
            name=title(folder),
            group=folder.out.name,
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
            reinit="create_new",
            **options,
        )
    )
