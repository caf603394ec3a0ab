"""`folder:PATH`: any folder of images, flat or in one subfolder a class (torchvision's ImageFolder), found recursively.

Class folders are not labels here: no model of the suite sees one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from bench.data.decoding import AVIF, Item, read_images
from bench.data.source import Source
from bench.errors import UserError, one_line

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *((".avif", ".avifs") if AVIF else ()),
)
UNREAD = (  # images that are not read: named in the notes
    *(".avif", ".avifs", ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".svg", ".psd", ".tga"),
    *(".ico", ".pcx", ".eps", ".exr", ".hdr", ".pfm", ".dds", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".rw2"),
)


@dataclass(frozen=True)
class Folder:
    """The images below a folder, in the order of their relative paths."""

    folder: Path
    paths: list[str]  # relative, with "/"
    side: int  # pixels; 0: the images' own
    progress: bool
    unread: Counter[str] = field(default_factory=Counter)  # ending -> images that were left out

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        images, tally = read_images(
            self._items(chosen), len(chosen), side=self.side, orient=True, progress=self.progress
        )
        notes = (*tally.conversions(images.shape[1]), *tally.geometry(images.shape[-1]))
        return images, (*self._pooled(), *self._left_out(), *self._outside(chosen), *notes)

    def _items(self, chosen: Sequence[int]) -> Iterator[Item]:
        for row, i in sorted(enumerate(chosen), key=lambda pair: pair[1]):  # in the order of the disk
            file = os.path.join(self.folder, self.paths[i])
            yield Item(row, file, one_line(file, limit=1000))

    def _pooled(self) -> tuple[str, ...]:
        parts = sorted({path.partition("/")[0] for path in self.paths if "/" in path} & {"train", "val", "test"})
        return (f"the subfolders {', '.join(parts)} were pooled",) if len(parts) > 1 else ()

    def _left_out(self) -> tuple[str, ...]:
        count = sum(self.unread.values())
        return (f"{count:,} images were left out, whose formats are not read: {_kinds(self.unread)}",) if count else ()

    def _outside(self, chosen: Sequence[int]) -> tuple[str, ...]:
        """A sentence where links led out of the folder, which is allowed but must be known."""
        top = os.path.join(os.path.realpath(self.folder), "")
        places: dict[str, str] = {}  # folder -> what it really is
        outside = 0
        for i in chosen:
            place, name = os.path.split(os.path.join(self.folder, self.paths[i]))
            if place not in places:
                places[place] = os.path.realpath(place)
            file = os.path.join(places[place], name)
            outside += not (os.path.realpath(file) if os.path.islink(file) else file).startswith(top)
        return (f"{outside:,} of {len(chosen):,} images lie outside the folder, behind links",) if outside else ()


def walk(folder: Path) -> list[str]:
    """Relative paths, with "/", of all images below `folder`, sorted; hidden files and folders are left out.

    Links to folders are followed, each folder once. Raises UserError, naming it, for a folder that cannot be read.
    """
    return find(folder)[0]


def find(folder: Path) -> tuple[list[str], Counter[str]]:
    """The paths that `walk` gives, and how many images there are of each ending that is not read."""

    def refuse(error: OSError) -> None:
        where = one_line(error.filename, limit=1000)
        raise UserError(f"{where} cannot be read ({error.strerror}): check that it is a folder that you may read")

    top = os.path.realpath(folder)
    found, seen, unread = [], {top}, Counter[str]()
    for place, subfolders, files in os.walk(folder, onerror=refuse, followlinks=True):
        inside = os.path.relpath(place, folder).replace(os.sep, "/")
        prefix = "" if inside == "." else inside + "/"
        files = [name for name in files if not name.startswith(".")]
        found += [prefix + name for name in files if name.lower().endswith(EXTENSIONS)]
        endings = (os.path.splitext(name)[1].lower() for name in files)
        unread.update(ending for ending in endings if ending in UNREAD and ending not in EXTENSIONS)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
        for name in list(subfolders):
            identity = os.path.realpath(os.path.join(place, name))
            if identity in seen or top.startswith(identity + os.sep):
                subfolders.remove(name)
            seen.add(identity)
    return sorted(found), unread


def _kinds(unread: Counter[str]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in sorted(unread.items()))


def _open(folder: Path, side: int, progress: bool) -> Folder:
    where = one_line(folder, limit=1000)
    if not os.path.lexists(folder):
        raise UserError(f"there is no folder {where}: give folder:PATH a folder of images, from the current folder on")
    if not os.path.isdir(folder):
        raise UserError(f"{where} is not a folder: folder:PATH takes a folder of images")
    paths, unread = find(folder)
    if not paths:
        others = f" (there are {_kinds(unread)}: convert them)" if unread else ""
        raise UserError(f"no image in {where} or below it: files must end in {' '.join(EXTENSIONS)}{others}")
    return Folder(folder, paths, side, progress, unread)


SOURCE = Source(_open, status=lambda root: "any folder of images: flat, or one subfolder a class")
