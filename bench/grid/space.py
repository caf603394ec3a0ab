"""Whether the disk can take a run: asked before the first training, since a full disk in the night costs the night."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.contract.model import Trainer, count_parameters
from bench.errors import UserError

FLOAT = 4  # bytes
MOMENTS = 3  # a weight and Adam's two moments of it
CHECKPOINTS = 3  # the last, the one before it, and one that is being written
PICTURES = 4 << 20  # bytes of a cell's pictures, grids, log and record, generously


def while_training(trainer: Trainer, *, best: bool = False) -> int:
    """Bytes that a training's checkpoints take, at most, while it runs; `best`: they keep the best weights as well."""
    kept = count_parameters(trainer.model) if best else 0
    return CHECKPOINTS * FLOAT * (MOMENTS * count_parameters(*trainer.networks, trainer.model) + kept)


def when_done(trainer: Trainer) -> int:
    """Bytes that a finished cell keeps."""
    return FLOAT * count_parameters(trainer.model) + PICTURES


def refuse_unwritable(out: Path) -> None:
    """UserError unless the folder, or the one that it will be made in, can be written."""
    parent = existing(out)
    if not parent.is_dir():
        raise UserError(f"--out {out}: {parent} is a file: choose a folder")
    if not os.access(parent, os.W_OK):
        raise UserError(f"--out {out}: {parent} cannot be written: choose another folder, or change its permissions")


def refuse_full(out: Path, needed: int) -> None:
    """UserError where fewer than `needed` bytes are free."""
    free = shutil.disk_usage(existing(out)).free
    if free < needed:
        raise UserError(
            f"--out {out}: about {needed / 2**20:,.0f} MiB are needed and {free / 2**20:,.0f} MiB are free: "
            "free some space, or choose another folder"
        )


def existing(out: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(path for path in (out, *out.absolute().parents) if path.exists())
