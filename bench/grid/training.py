"""One loop for every trainer: batches, progress, log, sample grids, checkpoints, and a stop at the first bad number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from tqdm import tqdm

from bench.contract.config import require
from bench.contract.images import from_uint8
from bench.contract.model import Trainer
from bench.contract.precision import FULL, PRECISIONS, lowered
from bench.contract.scores import Point
from bench.contract.seeds import seeded
from bench.errors import DivergedError
from bench.evaluation import COLUMNS, ROWS
from bench.grid.batches import Batches
from bench.grid.crew import NOBODY, Crew
from bench.grid.run_state import RunState
from bench.machine import runtime, signals
from bench.results.cell_folder import CellFolder
from bench.results.status import StatusWriter

Clock = Callable[[], float]  # seconds from any moment on
CHECKPOINTS = ("last", "best")
CURVE = ("curve", "curve_samples", "checkpoint")  # the settings that a record with a curve has


@dataclass(frozen=True)
class TrainingConfig:
    """How a run is computed, watched and guarded, and which of its weights are reported."""

    log_every: int = 10  # updates between rows of the log
    grids: int = 4  # sample grids in a run, evenly spaced, each with a checkpoint; 0 for none
    checkpoint_minutes: float = 5.0  # between checkpoints
    curve: tuple[float, ...] = ()  # shares of the planned updates after which samples are scored; none for no curve
    curve_samples: int = 500  # generated images for each of them
    checkpoint: str = "last"  # the weights that are reported: the last, or those of the best validation score
    precision: str = FULL  # of an update's convolutions and matrix products: float32, tf32 (NVIDIA GPUs) or bf16

    def __post_init__(self) -> None:
        require(self, "log_every", self.log_every >= 1, "at least 1")
        require(self, "grids", self.grids >= 0, "0 or more")
        require(self, "checkpoint_minutes", self.checkpoint_minutes > 0, "above 0")
        shares = all(0 < share <= 1 for share in self.curve) and len(set(self.curve)) == len(self.curve)
        require(self, "curve", shares, "shares above 0 and at most 1 that differ")
        require(self, "curve_samples", self.curve_samples >= ROWS * COLUMNS, f"at least {ROWS * COLUMNS}")
        require(self, "checkpoint", self.checkpoint in CHECKPOINTS, " or ".join(CHECKPOINTS))
        require(self, "precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        if self.checkpoint != CHECKPOINTS[0]:
            require(self, "curve", bool(self.curve), "shares to choose the best from, for instance [0.25, 0.5, 1.0]")

    def curve_updates(self, planned: int) -> frozenset[int]:
        """The updates after which samples are scored."""
        return frozenset(max(1, round(share * planned)) for share in self.curve)

    def settings(self) -> dict[str, Any]:
        """What a record says of it: nothing without a curve, and nothing of full precision."""
        found = {name: value for name, value in asdict(self).items() if name in CURVE}
        return (found if self.curve else {}) | self.arithmetic()

    def arithmetic(self) -> dict[str, str]:
        """The precision where it is not float32, as it stands in records and in what decides a run."""
        return {} if self.precision == FULL else {"precision": self.precision}


@dataclass(frozen=True)
class TrainingResult:
    updates: int
    seconds: float  # of updates alone: not of logs, grids and checkpoints
    last: dict[str, float]  # the last scalars that were all finite
    status: str = "finished"  # or diverged, oom
    message: str = ""  # what went wrong and when
    points: tuple[Point, ...] = ()  # scores on the way
    chosen: Point | None = None  # the one whose weights the model has; None: it has the last


def one_update(
    trainer: Trainer, batches: Batches, run: RunState, seed: int, clock: Clock, precision: str
) -> dict[str, float]:
    """Make the next update and count it and its seconds in `run`; the trainer's scalars, which may be not finite.

    Batch and noise are functions of (seed, update). `precision` is `TrainingConfig.precision`.
    Raises DivergedError of the trainer's, naming the update.
    """
    started = clock()
    device = trainer.model.device
    generator = seeded(seed, "update", run.done, device=device)
    try:
        images = from_uint8(batches(run.done).to(device))
        with lowered(precision, device):
            scalars = trainer.step(images, generator)
    except DivergedError as error:
        raise DivergedError(f"{error}, at update {run.done + 1}") from None
    run.seconds += clock() - started
    run.done += 1
    return scalars


def first_bad(scalars: dict[str, float]) -> str | None:
    """The name of the first scalar that is not finite; None where all are."""
    return next((name for name, value in scalars.items() if not math.isfinite(value)), None)


def train(
    trainer: Trainer,
    images: Tensor,  # uint8 (N, C, H, W), on any device
    *,
    seed: int,
    folder: CellFolder,  # where log and checkpoints go; a checkpoint that is there is continued
    config: TrainingConfig,
    flip: bool = False,  # mirror about half of the images of each batch, as `data.flip` says
    save_grid: Callable[[int], None] | None = None,  # called with the update that a sample grid is due at
    score: Callable[[int], float] | None = None,  # called likewise for a point of `config.curve`; lower is better
    score_of: str = "",  # what `score` is: a run is not continued with another one
    status: StatusWriter | None = None,
    track: Callable[[int, dict[str, float]], None] | None = None,  # told what the log is told, but of a bad update
    crew: Crew = NOBODY,  # the ranks that make the updates together with this one
    title: str = "training",
    progress: bool = True,
) -> TrainingResult:
    """Run the trainer to its configured number of updates.

    Batch and noise of an update are functions of (seed, update), so a continued run equals one never interrupted.
    A scalar, a chain, a sample grid or weights that are not finite, or a DivergedError of the trainer's, end the run
    there: the result says so, the log and the last checkpoint are kept. SIGINT and SIGTERM end it after the update,
    with a checkpoint: signals.Interrupted. Under the rule "best" the model ends with the weights of its best score.
    """
    updates = trainer.config.updates
    decides = [*([repr(config.settings()), score_of] if config.curve else []), *(["flip"] if flip else [])]
    decides += config.arithmetic().values()
    run = RunState.start(folder, trainer, seed, *decides)
    batches = Batches(images, trainer.config.batch_size, seed, flip=flip)
    best = config.checkpoint == "best"
    scored_updates = config.curve_updates(updates)
    grid_updates = {round(updates * (i + 1) / config.grids) for i in range(config.grids)}
    saved_at, saved = time.monotonic(), run.done

    def update() -> None:
        with crew.updating():
            scalars = one_update(trainer, batches, run, seed, time.perf_counter, config.precision)
        bad = first_bad(scalars)
        if bad or run.done % config.log_every == 0 or run.done in (1, updates):
            run.log(scalars)
            if track is not None and not bad:
                track(run.done, scalars)
            bar.set_postfix({k: f"{v:.3g}" for k, v in list(scalars.items())[:4]}, refresh=False)
        if bad:
            raise DivergedError(f"{bad} became {scalars[bad]} at update {run.done}")
        run.last = scalars

    def save() -> None:
        nonlocal saved_at, saved
        crew.check(trainer, run.done)
        try:
            run.save(folder, trainer, seed, *decides)
        except DivergedError as error:
            raise DivergedError(f"{error} at update {run.done}") from None
        saved_at, saved = time.monotonic(), run.done

    def watch() -> None:
        """The sample grid and the score that are due, and a checkpoint that has the score."""
        what = "sample grid"
        try:
            if grid := save_grid is not None and run.done in grid_updates:
                save_grid(run.done)
            what = "samples of the curve"
            if point := score is not None and run.done in scored_updates:
                run.add_point(finite(score(run.done)), trainer.model if best else None)
        except DivergedError as error:
            raise DivergedError(f"{error}, in the {what} at update {run.done}") from None
        if grid or point:
            save()

    bar = tqdm(total=updates, initial=run.done, desc=title, unit="update", disable=not progress, mininterval=1.0)
    try:
        with bar, crew.training(trainer, run.done), signals.deferred() as signal:
            while run.done < updates:
                update()
                bar.update()
                if status is not None:
                    status.training(run.done, updates, run.last)
                watch()
                due = time.monotonic() - saved_at > 60 * config.checkpoint_minutes
                leave = signal.noted  # asked once: one that comes after this has its update saved before it counts
                if saved < run.done and (due or run.done == updates or leave):
                    save()
                if leave:
                    signal.check()
    except DivergedError as error:
        run.write_log(folder)
        return TrainingResult(run.done, run.seconds, run.last, "diverged", str(error))
    except (RuntimeError, MemoryError) as error:
        if not runtime.is_out_of_memory(error):
            raise
        run.write_log(folder)
        message = f"{runtime.out_of_memory(error)}, at update {run.done + 1}"
        return TrainingResult(run.done, run.seconds, run.last, "oom", message)
    if best and run.best is not None:
        trainer.model.load_state_dict(run.best)
    chosen = run.best_point if best and run.points else None
    return TrainingResult(run.done, run.seconds, run.last, points=tuple(run.points), chosen=chosen)


def finite(score: float) -> float:
    """The score itself; DivergedError for one that is not finite."""
    if not math.isfinite(score):
        raise DivergedError(f"the score became {score}")
    return score
