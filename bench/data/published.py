"""`fashion-mnist`, `cifar10`, `svhn`: read, and downloaded where there is a network, by torchvision's own classes.

Sources: Xiao et al. 2017 (1x28x28); Krizhevsky 2009 (3x32x32); Netzer et al. 2011 (3x32x32). The pool is the training
split. A download goes to a temporary folder beside its place and moves there once torchvision has checked it, so that
an interrupted one is never taken for a data set.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from bench.data.source import Source, TensorPool
from bench.errors import UserError, one_line

FASHION_MNIST_SHA256 = {  # of the files unpacked; torchvision knows the MD5 of the published .gz alone
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
TIMEOUT = 15  # seconds without an answer before a mirror is given up


@dataclass(frozen=True)
class Published:
    """A data set that torchvision reads. Paths are relative to the data root and may change with torchvision."""

    name: str
    shape: tuple[int, int, int]  # C, H, W
    page: str  # where a person gets the files
    files: Callable[[], dict[str, str | None]]  # path -> published MD5, where there is one
    archives: Callable[[], dict[str, str]]  # path -> MD5 of what torchvision unpacks into `files`
    read: Callable[[Path, bool], Tensor]  # (root, download) -> uint8 (N, C, H, W)
    sha256: Callable[[], dict[str, str]] = dict  # path -> SHA-256 of the files that torchvision reads unchecked
    natural: bool = True  # as of `Source`

    def source(self) -> Source:
        return Source(self._open, self._status, sides=(self.shape[-1],), natural=self.natural)

    def _status(self, root: Path) -> str:
        complete = any(files and _absent(root, files) == [] for files in (self.files(), self.archives()))
        return "there" if complete else "can be downloaded"

    def _open(self, root: Path, side: int, progress: bool) -> TensorPool:
        if _absent(root, self.files()):
            self._download(root, progress)
        if changed := [path for path, known in self.sha256().items() if _sha256(root / path) != known]:
            names = ", ".join(Path(path).name for path in changed)
            raise self._unreadable(root, f"{names}: not the published files, by their SHA-256 checksums")
        try:
            images = self.read(root, False)
        except Exception as error:  # torchvision's parsers raise anything from AssertionError to KeyError
            raise self._unreadable(root, one_line(error) or type(error).__name__) from error
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape:
            raise self._unreadable(root, f"they hold {images.dtype} images of shape {tuple(images.shape[1:])}")
        return TensorPool(images)

    def _unreadable(self, root: Path, reason: str) -> UserError:
        corrupt = [path for path, md5 in self.files().items() if md5 and not check_integrity(root / path, md5)]
        if corrupt:
            reason = f"{', '.join(Path(path).name for path in corrupt)}: not the published MD5 checksum"
        folder = (root / next(iter(self.files()))).parent
        return UserError(
            f"{self.name}: the files in {folder} cannot be used ({reason}): move them elsewhere, then run again or "
            f"put the originals there from {self.page}"
        )

    def _download(self, root: Path, progress: bool) -> None:
        """Let torchvision download (or unpack an archive that is under `root` already); raises UserError otherwise."""
        existed = root.exists()
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=root) as folder:
                fresh = Path(folder)
                for path, md5 in self.archives().items():
                    if check_integrity(root / path, md5):
                        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(root / path, fresh / path)
                with _quietly(progress):
                    self.read(fresh, True)
                for path in self.files():
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(fresh / path, root / path)
        except Exception as error:  # no network, a stalled mirror, a bad checksum, a full disk, a torn archive, ...
            if not existed:
                with contextlib.suppress(OSError):
                    root.rmdir()
            archives = "".join(f", or {Path(path).name} into {(root / path).parent}" for path in self._one_archive())
            names = ", ".join(Path(path).name for path in self.files())
            raise UserError(
                f"{self.name} is not there and cannot be downloaded ({one_line(error)}): put {names} into "
                f"{(root / next(iter(self.files()))).parent}{archives}; they are at {self.page}"
            ) from error

    def _one_archive(self) -> list[str]:
        return list(self.archives()) if len(self.archives()) == 1 else []


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _absent(root: Path, paths: dict[str, str | None] | dict[str, str]) -> list[str]:
    return [path for path in paths if not os.path.isfile(root / path)]


@contextlib.contextmanager
def _quietly(progress: bool) -> Iterator[None]:
    """No words on stdout, a bar on stderr only with `progress`, and no waiting for a mirror that does not answer."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if not progress:
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _read_fashion_mnist(root: Path, download: bool) -> Tensor:
    return datasets.FashionMNIST(root, download=download).data[:, None]


def _read_cifar10(root: Path, download: bool) -> Tensor:
    # The batches are pickles, which can run code: torchvision unpickles them only after their MD5 has been checked,
    # so this class must not be replaced by a plain reader of the files.
    return torch.from_numpy(datasets.CIFAR10(root, download=download).data).permute(0, 3, 1, 2)


def _read_svhn(root: Path, download: bool) -> Tensor:
    return torch.from_numpy(datasets.SVHN(root, split="train", download=download).data)


def _fashion_mnist_archives() -> dict[str, str]:
    return {f"FashionMNIST/raw/{name}": md5 for name, md5 in datasets.FashionMNIST.resources}


def _cifar10_files() -> dict[str, str | None]:
    cifar = datasets.CIFAR10
    pairs = [*cifar.train_list, *cifar.test_list, (cifar.meta["filename"], cifar.meta["md5"])]
    return {f"{cifar.base_folder}/{name}": md5 for name, md5 in pairs}


def _svhn_files() -> dict[str, str | None]:
    _, name, md5 = datasets.SVHN.split_list["train"]
    return {name: md5}


FASHION_MNIST = Published(
    "fashion-mnist",
    (1, 28, 28),
    "https://github.com/zalandoresearch/fashion-mnist",
    files=lambda: {path.removesuffix(".gz"): None for path in _fashion_mnist_archives()},
    archives=_fashion_mnist_archives,
    read=_read_fashion_mnist,
    sha256=lambda: {f"FashionMNIST/raw/{name}": known for name, known in FASHION_MNIST_SHA256.items()},
    natural=False,
).source()

CIFAR10 = Published(
    "cifar10",
    (3, 32, 32),
    "https://www.cs.toronto.edu/~kriz/cifar.html (the Python version)",
    files=_cifar10_files,
    archives=lambda: {datasets.CIFAR10.filename: datasets.CIFAR10.tgz_md5},
    read=_read_cifar10,
).source()

SVHN = Published(
    "svhn",
    (3, 32, 32),
    "http://ufldl.stanford.edu/housenumbers (format 2, cropped digits)",
    files=_svhn_files,
    archives=dict,
    read=_read_svhn,
).source()
