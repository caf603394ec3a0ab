"""Data sets: one call gives the images of a named set, split by seed, as uint8 in memory.

    images = load("digits", Path("data"))   # or "folder:photos/cats", or "my.module:SOURCE"
    images.train, images.held_out           # uint8 (N, C, H, W); from_uint8 of bench.contract.images gives [-1, 1]

The protocol (Nijkamp et al. 2019, section 5): 40,000 training images at most and 1,000 held-out ones. The pool is the
official training part of a set, or every image of a folder. Only the images that the split chooses are decoded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.contract import plugins
from bench.contract.config import require
from bench.contract.seeds import seeded
from bench.data.source import Source
from bench.errors import UserError

# name -> "module:SOURCE"; a new data set is one file and one line here, or `package.module:SOURCE` where a name is
# asked for. ":PATH" marks a set that takes a path.
DATASETS: dict[str, str] = {
    "digits": "bench.data.digits:SOURCE",
    "fashion-mnist": "bench.data.published:FASHION_MNIST",
    "cifar10": "bench.data.published:CIFAR10",
    "svhn": "bench.data.published:SVHN",
    "celeba": "bench.data.celeba:SOURCE",
    "lsun-bedroom": "bench.data.lsun:SOURCE",
    "folder:PATH": "bench.data.folder:SOURCE",
}

SMALLEST_POOL = 12  # images; a sixth of it leaves two to hold out
GENERIC = {"train", "test", "val", "images"}  # folder names that say nothing about what is in them


@dataclass(frozen=True)
class DataConfig:
    """The [data] section of a profile. Raises ValueError, naming the field, when a value is out of range."""

    max_train: int = 40_000  # training images, at most; 0 for all
    held_out: int = 1_000  # held-out images, at most; never more than a sixth of the pool
    split_seed: int = 0
    image_size: int = 0  # side in pixels; 0: the set's own
    validation: int = 0  # training images set apart: choices are scored against them, and nothing trains on them
    flip: bool = False  # mirror each image of a training batch with probability one half

    def __post_init__(self) -> None:
        lows = {"max_train": 0, "held_out": 1, "split_seed": 0, "image_size": 0, "validation": 0}
        for field, low in lows.items():
            value = getattr(self, field)
            require(self, field, type(value) is int and value >= low, f"a whole number, at least {low}")
        require(self, "image_size", self.image_size <= 1024, "at most 1024")
        require(self, "flip", type(self.flip) is bool, "true or false")

    def settings(self) -> dict[str, Any]:
        """What a record says of it. Without validation images and mirroring it is the same as before there were any."""
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if value or name not in ("validation", "flip")}


PROTOCOL = DataConfig()  # the paper's


@dataclass(frozen=True, eq=False)
class ImageData:
    """The images of one data set, split into parts that share no image of the pool."""

    name: str  # label used in paths and tables: "digits", "cifar10-jpeg-train"
    train: Tensor  # uint8 (N, C, H, W) in [0, 255]
    held_out: Tensor  # uint8 (M, C, H, W)
    split_seed: int
    content_hash: str  # SHA-256, hexadecimal, of shape and bytes of train, held_out and any validation
    notes: tuple[str, ...]  # what was converted or fell short, one sentence each
    spare: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))  # in no other part
    natural: bool = True  # as of its `Source`
    validation: Tensor = dataclasses.field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))  # for tuning

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        c, h, w = self.train.shape[1:]
        return c, h, w

    def describe(self) -> dict[str, Any]:
        """What a record says about the data: JSON values only."""
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "train": len(self.train),
            "held_out": len(self.held_out),
            "split_seed": self.split_seed,
            "content_hash": self.content_hash,
            "notes": list(self.notes),
        }


def load(spec: str, root: Path, config: DataConfig = PROTOCOL, *, spare: int = 0, progress: bool = True) -> ImageData:
    """The images that `spec` names ("digits", "folder:PATH", "package.module:SOURCE"), looked for under `root`.

    PATH is the user's own, and so is a module: its `SOURCE` is a `bench.data.source.Source`.

    The result is a function of the files, `spec`, `config` and `spare`, the number of further images of the pool that
    are wanted, of which there may be fewer; the two parts do not depend on it. `progress` shows bars on stderr.
    Raises UserError for an unknown name, files that are missing or unreadable, a side that the set has not, fewer
    than 12 images, and a module of the user's own that cannot be imported or gives no images.
    """
    name, argument = _parse(spec)
    source = _source(name)
    if config.image_size and source.sides and config.image_size not in source.sides:
        sides = ", ".join(str(side) for side in source.sides)
        raise UserError(f"{spec} has no images of side {config.image_size}: --image-size can be {sides}, or 0")
    side = config.image_size or (source.sides[0] if source.sides else 0)
    where = Path(argument or root).expanduser().absolute()

    pool = source.open(where, side, progress)
    train, held_out = split_sizes(len(pool), config, spec)
    if config.validation > train // 2:
        raise UserError(
            f"data.validation={config.validation} is more than half of the {train:,} training images of {spec}: "
            f"give at most {train // 2}"
        )
    order = torch.randperm(len(pool), generator=seeded("split", config.split_seed))
    chosen = order[: held_out + train + spare].tolist()
    images, notes = pool.read(chosen)
    _check(images, len(chosen), spec)
    if (config.max_train and train < config.max_train) or held_out < config.held_out:
        shortfall = (
            f"{len(pool):,} images: {train:,} for training and {held_out:,} held out, "
            f"fewer than the protocol's {config.max_train or train:,} and {config.held_out:,}"
        )
        notes = (shortfall, *notes)
    if config.flip:
        notes = ("each image of a training batch is mirrored with probability one half", *notes)
    if config.validation:
        notes = (f"{config.validation:,} training images are set apart for tuning", *notes)
    fitted = held_out + train - config.validation  # the last training images are set apart, so that no other moves
    parts = {"train": images[held_out:fitted], "held_out": images[:held_out]}
    if config.validation:
        parts["validation"] = images[fitted : held_out + train]
    return ImageData(
        label(spec),
        **parts,
        split_seed=config.split_seed,
        content_hash=content_hash(*parts.values()),
        notes=notes,
        spare=images[held_out + train :],
        natural=source.natural,
    )


def label(spec: str) -> str:
    """A name for `spec` that is safe in a path: "folder:data/cifar10-jpeg/train" is "cifar10-jpeg-train".

    "my.module:SOURCE" is "my.module-SOURCE"; nothing is imported. What would be called like a data set of the table
    keeps a prefix ("folder-cifar10"), so that no table mistakes one for the other.
    Raises UserError for an unknown data set.
    """
    name, argument = _parse(spec)
    if name not in DATASETS:
        return _safe(name, "module")
    if not argument:
        return name
    parts = Path(os.path.abspath(os.path.expanduser(argument))).parts[1:]
    start = len(parts) - 1
    while start > 0 and parts[start].lower() in GENERIC:
        start -= 1
    return _safe("-".join(parts[max(start, 0) :]), "folder")


def _safe(text: str, kind: str) -> str:
    text = re.sub(r"[^\w.-]+", "-", text).strip("-.")[-80:].lstrip("-.")
    return f"{kind}-{text}" if text.lower() in DATASETS else text or kind


def listing(root: Path) -> list[tuple[str, str]]:
    """For every data set its name and "there", "can be downloaded" or "missing: what, where, where from".

    Of those that installed packages add, which are not imported, where they come from.
    """
    where = Path(root).expanduser().absolute()
    own = [(name, _source(name).status(where)) for name in DATASETS]
    return own + list(plugins.added("data set", DATASETS).items())


def split_sizes(pool: int, config: DataConfig, spec: str = "the data set") -> tuple[int, int]:
    """Training and held-out counts for a pool of `pool` images; raises UserError when it holds fewer than 12."""
    if pool < SMALLEST_POOL:
        raise UserError(f"{spec} has {pool} images, too few to split: at least {SMALLEST_POOL} are needed")
    held_out = min(config.held_out, pool // 6)
    return min(config.max_train or pool, pool - held_out), held_out


def content_hash(*parts: Tensor) -> str:
    """SHA-256, hexadecimal, of the shape and the bytes of each uint8 tensor, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(tuple(part.shape)).encode())
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()


def _parse(spec: str) -> tuple[str, str]:
    """The name in the table or `package.module:SOURCE`, and the path if the data set takes one."""
    kind, _, argument = spec.partition(":")
    takes_path = f"{kind}:PATH" in DATASETS
    if takes_path and argument.strip():
        return f"{kind}:PATH", argument
    if plugins.known(spec, "data set", DATASETS):
        return spec, ""
    if not takes_path and kind not in DATASETS and plugins.split(spec):
        return spec, ""
    choices = ", ".join(plugins.names("data set", DATASETS))
    raise UserError(f"unknown data set {spec!r}: choose from {choices}, or give package.module:SOURCE")


def _source(name: str) -> Source:
    found = plugins.load(name, "data set", DATASETS, form="package.module:SOURCE")
    if not isinstance(found, Source):
        raise UserError(f"data set {name!r} is no bench.data.source.Source: name one, as docs/data.md says")
    return found


def _check(images: object, n: int, spec: str) -> None:
    """UserError unless a pool, which may be a stranger's, gave what it was asked for."""
    given = f"a {type(images).__name__}"
    if isinstance(images, Tensor):
        given = f"{images.dtype} {tuple(images.shape)}"
        count, channels, *sides = images.shape if images.ndim == 4 else (0, 0)
        if images.dtype == torch.uint8 and count == n and channels in (1, 3) and len(set(sides)) == 1:
            return
    raise UserError(f"{spec}: its pool gave {given}, not uint8 ({n}, 1 or 3, side, side): see docs/data.md")
