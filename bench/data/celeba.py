"""`celeba`: the aligned faces of CelebA (Liu et al. 2015), 3x64x64 (or 32, 128), from a folder or the zip.

torchvision's class is not used: it insists on four attribute files that no model here needs, and its download often
ends in a quota page. The training split is images 000001 to 162770, by the numbers that are the files' names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image
from torch import Tensor

from bench.data.archives import Archive
from bench.data.decoding import Item, centre, read_images
from bench.data.folder import EXTENSIONS, walk
from bench.data.source import Source
from bench.errors import UserError

LAST_TRAINING = 162_770  # list_eval_partition.txt: training, then validation to 182637, then test
ALIGNED = (178, 218)
CROP = 140  # pixels: the face without most of the background
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(frozen=True)
class CelebA:
    """The training faces found: their files (or zip members) in the order of their numbers."""

    paths: list[str]
    fetch: Callable[[str], Path | bytes]
    side: int
    progress: bool

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        items = self._items(sorted(enumerate(chosen), key=lambda pair: pair[1]))  # in the order of the disk
        images, tally = read_images(items, len(chosen), side=self.side, crop=_crop, colour=True, progress=self.progress)
        size = f"{CROP}x{CROP} pixels of the aligned images resized to {self.side}x{self.side} (Lanczos, antialiased)"
        partial = (
            (f"{len(self):,} of the {LAST_TRAINING:,} training images are there",) if len(self) < LAST_TRAINING else ()
        )
        return images, (*partial, f"the middle {size}", *tally.conversions(channels=3))

    def _items(self, chosen: Iterable[tuple[int, int]]) -> Iterator[Item]:
        for row, i in chosen:
            yield Item(row, self.fetch(self.paths[i]), self.paths[i])


def _crop(image: Image.Image, name: str) -> Image.Image:
    if image.size != ALIGNED:
        raise UserError(
            f"{name} is {image.width}x{image.height}, not {ALIGNED[0]}x{ALIGNED[1]}: celeba needs the aligned and "
            "cropped images (img_align_celeba); use folder:PATH for others"
        )
    return centre(image, CROP, CROP)


def _find(root: Path) -> Path | None:
    for place in (root / "celeba", root):
        if os.path.isdir(place / "img_align_celeba"):
            return place / "img_align_celeba"
        if os.path.isfile(place / "img_align_celeba.zip"):
            return place / "img_align_celeba.zip"
    return None


def _missing(root: Path) -> str:
    return f"img_align_celeba.zip (1.4 GB, as it is or unpacked) goes into {root / 'celeba'}; it is at {PAGE}"


def _open(root: Path, side: int, progress: bool) -> CelebA:
    found = _find(root)
    if found is None:
        raise UserError(f"celeba is not there and is never downloaded: {_missing(root)}; no attribute file is needed")
    if found.suffix == ".zip":
        return CelebA(*_from_zip(found), side, progress)
    return CelebA(_training(walk(found), found), lambda path: found / path, side, progress)


def _training(paths: Iterable[str], found: Path) -> list[str]:
    """The paths of training images, in the order of their numbers; one path for each number."""
    numbered = {}
    for path in sorted(paths, reverse=True):
        stem = PurePosixPath(path).stem
        if stem.isascii() and stem.isdigit() and 1 <= int(stem) <= LAST_TRAINING:
            numbered[int(stem)] = path
    if not numbered:
        raise UserError(f"{found} holds no image called 000001.jpg to {LAST_TRAINING}.jpg: get it again from {PAGE}")
    return [numbered[number] for number in sorted(numbered)]


def _from_zip(found: Path) -> tuple[list[str], Callable[[str], bytes]]:
    archive = Archive.open(found, str(found), f"get it again from {PAGE}")
    names = (name for name in archive.names() if name.lower().endswith(EXTENSIONS) and "__MACOSX" not in name)
    return _training(names, found), archive.read


SOURCE = Source(
    _open,
    status=lambda root: "there" if _find(root) else f"missing: {_missing(root)}",
    sides=(64, 32, 128),
)
