"""The folder of one cell, `RESULTS/cells/<dataset>/<model>/seed-<training seed>/`: every name in it and every rule.

A cell is finished once its record exists, and the record is written last. Until then its checkpoints and its status
say how far it is. A process that writes into the folder holds its lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.results import status as statuses
from bench.results.layout import CELLS, folder_name
from bench.results.locks import is_taken, lock, sweep, taken
from bench.results.record import Record, read, write_record
from bench.results.status import CellStatus
from bench.storage.files import write_bytes

RECORD, STATUS, LOG = "record.json", "status.json", "log.csv"
CHECKPOINT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
WEIGHTS = "model.safetensors"
GRIDS = "grids"  # the folder of the sample grids drawn during the training


@dataclass(frozen=True)
class CellFolder:
    """The cell of a data set, a model and a training seed in the results folder `out`."""

    out: Path
    dataset: str  # its label; for a cell found by `all_in`, the folder's name, which differs if the label is unsafe
    model: str  # likewise
    seed: int  # of training

    @classmethod
    def at(cls, path: Path) -> CellFolder | None:
        """The cell with the folder `path`; None for any other folder, such as one moved away to `seed-0.old`."""
        seed = path.name.removeprefix("seed-")
        if len(path.parents) < 4 or not (seed.isascii() and seed.isdecimal()):
            return None
        cell = cls(path.parents[3], path.parents[1].name, path.parent.name, int(seed))
        return cell if cell.path == path else None

    @classmethod
    def all_in(cls, out: Path) -> list[CellFolder]:
        """Every cell with a folder in the results folder `out`, by data set, model and training seed."""
        paths = (path for path in Path(out).glob(f"{CELLS}/*/*/seed-*") if path.is_dir())
        cells = [cell for path in paths if (cell := cls.at(path))]
        return sorted(cells, key=lambda cell: (cell.dataset, cell.model, cell.seed))

    @property
    def path(self) -> Path:
        return Path(self.out, CELLS, folder_name(self.dataset), folder_name(self.model), f"seed-{self.seed}")

    # The lock

    def lock(self) -> FileLock:
        """The cell's lock, not yet taken."""
        return lock(self.out, f"{folder_name(self.dataset)},{folder_name(self.model)},seed-{self.seed}")

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Give the block True and the cell to itself, or False, without waiting, if another process works on it."""
        own = self.lock()
        if not taken(own):
            yield False
            return
        try:
            yield True
        finally:
            own.release()

    @property
    def is_locked(self) -> bool:
        """Whether a living process works on the cell."""
        return is_taken(self.lock())

    def sweep(self) -> None:
        """Remove the temporary files of killed writers."""
        sweep(self.path)
        sweep(self.path / GRIDS)

    # Files of a cell without a record

    @property
    def status_path(self) -> Path:
        return self.path / STATUS

    def write_status(self, status: CellStatus) -> None:
        """Write the status atomically. OSError if the disk does not take it."""
        statuses.write(self.status_path, status)

    def read_status(self) -> CellStatus | None:
        """The status as it was written; None if it is missing or damaged."""
        return statuses.read(self.status_path)

    def live_status(self) -> CellStatus | None:
        """The status; `interrupted` if the process that wrote it is gone, as the free lock shows."""
        status = self.read_status()
        return status.abandoned() if status and status.at_work and not self.is_locked else status

    @property
    def log_path(self) -> Path:
        return self.path / LOG

    @property
    def checkpoint_path(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def previous_path(self) -> Path:
        """The checkpoint before the last one, in case the last one is damaged."""
        return self.path / PREVIOUS

    def rotate_checkpoints(self) -> None:
        """Make room for a new checkpoint: the last one becomes the previous one."""
        if self.checkpoint_path.exists():
            os.replace(self.checkpoint_path, self.previous_path)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints of a run whose outcome is stored elsewhere."""
        for path in (self.checkpoint_path, self.previous_path):
            path.unlink(missing_ok=True)

    # Files of a finished cell

    def grid_path(self, update: int) -> Path:
        """The sample grid drawn after an update."""
        return self.path / GRIDS / f"update-{update:07d}.png"

    def picture_path(self, name: str) -> Path:
        return self.path / f"{name}.png"

    @property
    def weights_path(self) -> Path:
        return self.path / WEIGHTS

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    @property
    def has_record(self) -> bool:
        return self.record_path.exists()

    def read_record(self) -> Record:
        """The validated record. UserError if it is missing or damaged."""
        return Record(self.record_path, read(self.record_path))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record, after everything else, and clean up."""
        write_record(self.record_path, record)
        self.clean_up(record["status"])

    def clean_up(self, status: str) -> None:
        """Remove what a cell with a record no longer needs. If it failed, its last finite checkpoint stays."""
        with contextlib.suppress(OSError):  # a status that stays does no harm: a record takes precedence
            self.status_path.unlink(missing_ok=True)
        if status == "finished":
            self.discard_checkpoints()

    def take_over(self, record: Record) -> bool:
        """Copy a finished cell of another results folder, its record last, and return whether that was done.

        Nothing is copied if this cell has a record by now, or if another process works on it. Files of an interrupted
        run are removed: the record belongs to a complete one.
        """
        with self.held() as own:
            if not own or self.has_record:
                return False
            shutil.rmtree(self.path, ignore_errors=True)
            left = {RECORD, STATUS, CHECKPOINT, PREVIOUS}
            for source in sorted(record.folder.rglob("*")):
                if source.is_file() and source.name not in left and not source.name.startswith("."):
                    target = self.path / source.relative_to(record.folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)
            write_bytes(self.record_path, record.path.read_bytes())
        return True


def read_all(out: Path) -> list[Record]:
    """Every record of a results folder, by dataset, model and training seed; a cell without a record is left out."""
    records = [cell.read_record() for cell in CellFolder.all_in(out) if cell.has_record]
    return sorted(records, key=lambda record: (record.dataset, record.model, record.seed, str(record.folder)))
