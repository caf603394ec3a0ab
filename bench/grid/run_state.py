"""What of a training run is not the trainer's: updates done, seconds, the log; and its checkpoints on the disk."""

from __future__ import annotations

import copy
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bench.contract.model import GenerativeModel, Trainer
from bench.contract.scores import Point
from bench.contract.seeds import derive
from bench.errors import NotFiniteError, UserError
from bench.results.cell_folder import CellFolder
from bench.results.layout import run_again
from bench.storage.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from bench.storage.files import write_text

ROWS = 10_000  # a log holds no more: then every second row goes, so that memory and files stay bounded


@dataclass
class RunState:
    """A run between two updates."""

    done: int  # updates
    seconds: float  # of updates alone
    rows: list[dict[str, float]]  # of the log
    last: dict[str, float]  # the last scalars that were all finite
    points: list[Point] = field(default_factory=list)  # scores on the way
    best: dict[str, Any] | None = None  # the model's state at the best of them, where that one is reported

    @classmethod
    def start(cls, folder: CellFolder, trainer: Trainer, seed: int, *more: str) -> RunState:
        """A new run, or the one whose checkpoint lies in `folder`, its weights and optimizers put back.

        `more` is what decides the run beside its trainer and seed, as for `save`.
        A damaged checkpoint is left for the one before it, and both for a new run, with a line on standard error.
        """
        for path in (folder.checkpoint_path, folder.previous_path):
            if not path.exists():
                continue
            try:
                state, description = load_checkpoint(path)
            except DamagedCheckpoint as error:
                print(f"warning: {error}; an earlier state is used", file=sys.stderr, flush=True)
                path.unlink()  # or the next save would put it in the place of the good one before it
                continue
            if description.get("run") != identity(trainer, seed, *more):
                raise UserError(
                    f"{path} was left by a run with other settings: choose another --out, or {run_again(folder.path)}"
                )
            try:
                best = state["best"] if description.get("best") else None
                trainer.load_state_dict(state if best is None else state["trainer"])
                points = [Point(**point) for point in description.get("points", ())]
                return cls(*(description[name] for name in ("done", "seconds", "rows", "last")), points, best)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"{path} does not fit this version ({reason}): {run_again(folder.path)}") from None
        return cls(0, 0.0, [], {})

    def log(self, scalars: dict[str, float]) -> None:
        self.rows.append({"update": self.done, "seconds": round(self.seconds, 4), **scalars})
        if len(self.rows) > ROWS:
            del self.rows[1::2]  # the first row stays

    def add_point(self, score: float, model: GenerativeModel | None = None) -> None:
        """Keep a score of the run as it is; of a `model` its weights as well, where no score before was as good."""
        if model is not None and all(score < point.score for point in self.points):
            self.best = copy.deepcopy(dict(model.state_dict()))
        self.points.append(Point(self.done, self.seconds, score))

    @property
    def best_point(self) -> Point:
        """The point with the lowest score, the first of equals."""
        return min(self.points, key=lambda point: point.score)

    def write_log(self, folder: CellFolder) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(folder.log_path, text.getvalue())

    def save(self, folder: CellFolder, trainer: Trainer, seed: int, *more: str) -> None:
        """Write log and checkpoint; the checkpoint before becomes the previous one.

        Raises NotFiniteError for a state that is not finite: what is on the disk can always be continued.
        """
        state = trainer.state_dict()
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors(state)):
            raise NotFiniteError("the trainer's weights or optimizer became not finite")
        self.write_log(folder)
        folder.rotate_checkpoints()
        description = {"run": identity(trainer, seed, *more), **vars(self)}
        description |= {"points": [asdict(point) for point in self.points], "best": self.best is not None}
        if self.best is not None:
            state = {"trainer": state, "best": self.best}
        save_checkpoint(folder.checkpoint_path, state, description)


def identity(trainer: Trainer, seed: int, *more: str) -> str:
    """A hash of all that decides a run but its images."""
    return f"{derive(type(trainer).__name__, repr(trainer.config), seed, *more):016x}"


def tensors(node: Any) -> Iterator[torch.Tensor]:
    """Every floating-point tensor of a trainer's state."""
    if isinstance(node, torch.Tensor):
        if node.is_floating_point():
            yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from tensors(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from tensors(value)
