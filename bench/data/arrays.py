"""Images in an array file, as EDM and guided-diffusion write them: `.npy`, or `.npz` with `arr_0`; uint8, NHWC.

Nothing in a file is run: Python objects are refused, and headers are checked against the file before it is read. What
is not compressed is mapped into memory, so that only the images that are asked for are read.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from bench.errors import UserError, one_line

ENDINGS = (".npz", ".npy")
NAME = "arr_0"  # what numpy.savez calls its first array
FORM = "give uint8 images (n, height, width, 1 or 3), as .npy or as arr_0 of an .npz"
_LOCAL = struct.Struct("<26xHH")  # of a zip member's header: the lengths of its name and its extra field


@dataclass(frozen=True)
class ArrayPool:
    """A pool (`bench.data.source.Pool`) of the images in one array."""

    images: np.ndarray  # uint8 (N, H, W, C), mapped into memory where the file is not compressed
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        """The images at positions `chosen`: uint8 (len(chosen), C, H, W)."""
        images = np.ascontiguousarray(self.images[list(chosen)].transpose(0, 3, 1, 2))
        return torch.from_numpy(images), self.notes


def open_array(path: Path) -> ArrayPool:
    """The images of an array file. UserError, in one line, for anything but uint8 images (n, H, W, 1 or 3)."""
    where = one_line(path, limit=1000)
    try:
        with open(path, "rb") as file:
            start = file.read(6)
            if start == npy.MAGIC_PREFIX:
                images, notes = _mapped(path, file, 0, os.fstat(file.fileno()).st_size), ()
            elif start.startswith(b"PK"):
                images, notes = _member(path, file)
            else:
                raise ValueError("it is neither an .npy nor an .npz file")
    except OSError as error:
        raise UserError(f"{where} cannot be read ({error.strerror or one_line(error)}): check the file") from None
    except Exception as error:  # numpy's and zipfile's parsers fail in many ways
        raise UserError(f"{where} holds no images that can be scored ({one_line(error)}): {FORM}") from None
    return ArrayPool(images, notes)


def _member(path: Path, file: BinaryIO) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array `arr_0` of an .npz, and a note on the others."""
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if NAME not in names:
            known = "statistics of features" if {"mu", "sigma"} <= set(names) else "other arrays"
            raise ValueError(f"{known} without {NAME}: {', '.join(names[:5]) or 'none'}")
        about = archive.getinfo(archive.namelist()[names.index(NAME)])
        others = [name for name in names if name != NAME]
        notes = (f"of the file's arrays {', '.join(names[:5])}, only {NAME} was read",) if others else ()
        if about.compress_type != zipfile.ZIP_STORED:
            with archive.open(about) as member:
                return _unpacked(member, about.file_size), notes
    file.seek(about.header_offset)
    name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    begin = about.header_offset + _LOCAL.size + name + extra
    return _mapped(path, file, begin, begin + about.file_size), notes


def _mapped(path: Path, file: BinaryIO, begin: int, end: int) -> np.ndarray:
    """The array whose header is at `begin`, mapped; it has to end where the file, or its member, does."""
    file.seek(begin)
    shape, fortran, dtype = _header(file)
    size = end - file.tell()
    _check(shape, dtype, size)
    return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order="F" if fortran else "C")


def _unpacked(member: BinaryIO, size: int) -> np.ndarray:
    """The array of a compressed member that takes `size` bytes with its header."""
    shape, fortran, dtype = _header(member)
    _check(shape, dtype, size - member.tell())
    count = int(np.prod(shape))
    content = member.read(count)
    if len(content) != count:
        raise ValueError("it ends too early")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    if version == (2, 0):
        return npy.read_array_header_2_0(file)
    raise ValueError(f"a header of version {version}")


def _check(shape: tuple[int, ...], dtype: np.dtype, size: int) -> None:
    """ValueError for anything but uint8 (n, H, W, 1 or 3) that takes `size` bytes."""
    if dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or min(shape) < 1:
        raise ValueError(f"{dtype} {tuple(shape)}")
    if (needed := int(np.prod([int(n) for n in shape], dtype=object))) != size:
        raise ValueError(f"{shape} takes {needed:,} bytes, but there are {size:,}")
