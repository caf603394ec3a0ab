"""One loop for every trainer: batches, progress, log, sample grids, checkpoints, and a stop at the first bad number."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from bench.checkpoint import load_checkpoint, save_checkpoint
from bench.errors import NotFiniteError, UserError
from bench.images import from_uint8
from bench.model import Trainer, require
from bench.records import write_text
from bench.seeds import derive, seeded

CHECKPOINT, LOG = "checkpoint.safetensors", "log.csv"


@dataclass(frozen=True)
class TrainingConfig:
    """How a run is watched; nothing here changes the weights that it ends with."""

    log_every: int = 10  # updates between rows of the log
    grids: int = 4  # sample grids in a run, evenly spaced; 0 for none
    checkpoint_minutes: float = 5.0  # between checkpoints

    def __post_init__(self) -> None:
        require(self, "log_every", self.log_every >= 1, "at least 1")
        require(self, "grids", self.grids >= 0, "0 or more")
        require(self, "checkpoint_minutes", self.checkpoint_minutes > 0, "above 0")


@dataclass(frozen=True)
class TrainingResult:
    updates: int
    seconds: float  # of updates alone: not of logs, grids and checkpoints
    last: dict[str, float]  # the last scalars that were all finite
    stopped: str = ""  # what was not finite and when; empty for a whole run


def batch_indices(n: int, batch_size: int, update: int, *keys: int | str) -> Tensor:
    """The images of one update: a permutation of all `n` an epoch, a function of (keys, update) alone.

    The images left over at an epoch's end are dropped. Fewer images than a batch are drawn with replacement.
    """
    if n < batch_size:
        return torch.randint(n, (batch_size,), generator=seeded(*keys, "batch", update))
    batches = n // batch_size
    epoch, place = divmod(update, batches)
    order = torch.randperm(n, generator=seeded(*keys, "epoch", epoch))
    return order[place * batch_size : (place + 1) * batch_size]


def train(
    trainer: Trainer,
    images: Tensor,  # uint8 (N, C, H, W), on any device
    *,
    seed: int,
    folder: Path,  # where log and checkpoint go; a checkpoint that is there is continued
    config: TrainingConfig,
    save_grid: Callable[[int], None] | None = None,  # called with the update that a sample grid is due at
    title: str = "training",
    progress: bool = True,
) -> TrainingResult:
    """Run the trainer to its configured number of updates.

    Batch and noise of an update are functions of (seed, update), so a continued run equals one never interrupted.
    A scalar, a chain or a sample grid that is not finite ends the run there: the result says so, and the log is kept.
    """
    model, updates = trainer.model, trainer.config.updates
    run = _Run.start(folder, trainer, seed)
    grid_updates = {round(updates * (i + 1) / config.grids) for i in range(config.grids)}
    saved_at = time.monotonic()

    def stop(reason: str, update: int) -> TrainingResult:
        run.write_log(folder)
        return TrainingResult(run.done, run.seconds, run.last, f"{reason} at update {update}")

    bar = tqdm(total=updates, initial=run.done, desc=title, unit="update", disable=not progress, mininterval=1.0)
    with bar:
        while run.done < updates:
            started = time.perf_counter()
            batch = images[batch_indices(len(images), trainer.config.batch_size, run.done, seed).to(images.device)]
            generator = seeded(seed, "update", run.done, device=model.device)
            try:
                scalars = trainer.step(from_uint8(batch.to(model.device)), generator)
            except NotFiniteError as error:
                return stop(f"{error},", run.done + 1)
            run.seconds += time.perf_counter() - started
            run.done += 1
            bar.update()
            bad = next((name for name, value in scalars.items() if not math.isfinite(value)), None)
            if bad or run.done % config.log_every == 0 or run.done in (1, updates):
                run.log(scalars)
                bar.set_postfix({k: f"{v:.3g}" for k, v in list(scalars.items())[:4]}, refresh=False)
            if bad:
                return stop(f"{bad} became {scalars[bad]}", run.done)
            run.last = scalars
            if save_grid is not None and run.done in grid_updates:
                try:
                    save_grid(run.done)
                except NotFiniteError as error:
                    return stop(f"{error}, in the sample grid", run.done)
            if time.monotonic() - saved_at > 60 * config.checkpoint_minutes:
                run.save(folder, trainer, seed)
                saved_at = time.monotonic()
    run.save(folder, trainer, seed)
    return TrainingResult(run.done, run.seconds, run.last)


@dataclass
class _Run:
    """What of a run is not the trainer's: updates done, seconds spent, rows logged."""

    done: int
    seconds: float
    rows: list[dict[str, float]]
    last: dict[str, float]

    @classmethod
    def start(cls, folder: Path, trainer: Trainer, seed: int) -> _Run:
        """A new run, or the one whose checkpoint lies in `folder`, its weights and optimizers put back."""
        path = folder / CHECKPOINT
        if not path.exists():
            return cls(0, 0.0, [], {})
        state, description = load_checkpoint(path, trainer.model.device)
        if description.get("run") != _identity(trainer, seed):
            raise UserError(f"{path} was left by a run with other settings: remove it, or choose another --out")
        trainer.load_state_dict(state)
        return cls(**{name: description[name] for name in ("done", "seconds", "rows", "last")})

    def log(self, scalars: dict[str, float]) -> None:
        self.rows.append({"update": self.done, "seconds": round(self.seconds, 4), **scalars})

    def write_log(self, folder: Path) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(folder / LOG, text.getvalue())

    def save(self, folder: Path, trainer: Trainer, seed: int) -> None:
        self.write_log(folder)
        description: dict[str, Any] = {"run": _identity(trainer, seed), **vars(self)}
        save_checkpoint(folder / CHECKPOINT, trainer.state_dict(), description)


def _identity(trainer: Trainer, seed: int) -> str:
    return f"{derive(type(trainer).__name__, repr(trainer.config), seed):016x}"
