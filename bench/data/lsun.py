"""`lsun-bedroom`: the three million bedrooms of LSUN (Yu et al. 2015), 3x64x64, straight from the published lmdb.

torchvision's class is not used: it writes a pickle of all keys into the current folder and trusts it the next time.
lmdb itself trusts the pages of the file that it maps: a forged one can end the process, so take the published file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from bench.data.decoding import Item, read_images
from bench.data.source import Source
from bench.errors import UserError, one_line

SIDE = 64
MAX_BYTES = 2**24  # of one image; the real ones are about 15 kB
PAGE = "https://www.yf.io/p/lsun"


@dataclass(frozen=True)
class Lmdb:
    """The entries of a database, in the order of their keys."""

    path: Path
    entries: int
    progress: bool

    def __len__(self) -> int:
        return self.entries

    def read(self, chosen: Sequence[int]) -> tuple[Tensor, tuple[str, ...]]:
        with _environment(self.path) as environment:
            items = self._items(environment, chosen)
            images, tally = read_images(items, len(chosen), side=SIDE, colour=True, progress=self.progress)
        return images, (*tally.conversions(channels=3), *tally.geometry(SIDE))

    def _items(self, environment: Any, chosen: Sequence[int]) -> Iterator[Item]:
        """One pass over the keys, which are small; only the chosen values are touched."""
        rows = {position: row for row, position in enumerate(chosen)}
        last = max(rows)
        with environment.begin(buffers=True) as transaction, transaction.cursor() as cursor:
            for position, key in enumerate(cursor.iternext(keys=True, values=False)):
                if position in rows:
                    name = f"{self.path}: image {one_line(bytes(key).decode(errors='replace'))}"
                    value = cursor.value()  # a view of the mapped file: its size is known before it is copied
                    if len(value) > MAX_BYTES:
                        raise UserError(
                            f"{name} has {len(value):,} bytes, more than the {MAX_BYTES:,} allowed: get it from {PAGE}"
                        )
                    yield Item(rows[position], bytes(value), name)
                if position == last:
                    return


@contextlib.contextmanager
def _environment(path: Path) -> Iterator[Any]:
    """The open lmdb.Environment at `path`, closed at the end: lmdb refuses to open one twice in a process."""
    lmdb = _lmdb()
    if lmdb is None:
        raise UserError("lsun-bedroom needs the package lmdb, which is not installed: pip install .[lsun]")
    try:
        with lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False) as environment:
            expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            size = os.path.getsize(path / "data.mdb")
            if size < expected:  # reading past the end of a mapped file would kill the process
                raise UserError(
                    f"{path}/data.mdb has {size:,} bytes of {expected:,}: unpack it again, or get it from {PAGE}"
                )
            yield environment
    except lmdb.Error as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): unpack it again, or get it from {PAGE}") from error


def _find(root: Path) -> Path | None:
    places = (root / "lsun" / "bedroom_train_lmdb", root / "bedroom_train_lmdb")
    return next((place for place in places if os.path.isfile(place / "data.mdb")), None)


def _missing(root: Path) -> str:
    return (
        f"bedroom_train_lmdb/data.mdb (43 GB, from bedroom_train_lmdb.zip unpacked) goes into {root / 'lsun'}; "
        f"it is at {PAGE}"
    )


def _lmdb() -> ModuleType | None:
    try:
        return importlib.import_module("lmdb")
    except ImportError:
        return None


def _open(root: Path, side: int, progress: bool) -> Lmdb:
    found = _find(root)
    if found is None:
        raise UserError(f"lsun-bedroom is not there and is never downloaded: {_missing(root)}")
    with _environment(found) as environment:
        return Lmdb(found, environment.stat()["entries"], progress)


def _status(root: Path) -> str:
    if not _find(root):
        return f"missing: {_missing(root)}"
    return "there" if _lmdb() else "missing: the package lmdb: pip install .[lsun]"


SOURCE = Source(_open, _status, sides=(SIDE,))
