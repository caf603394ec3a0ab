"""Small data sets in the layouts that the published ones have, and what their tests share."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from bench.data import DataConfig, ImageData, load, published
from bench.errors import UserError


def read(spec: str, root: Path = Path("nowhere"), **config) -> ImageData:
    return load(spec, root, DataConfig(**config), progress=False)


@contextlib.contextmanager
def refused(*words: object):
    """The block raises a UserError of one line that holds all `words`."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert str(word) in message


def multiset(images) -> list[bytes]:
    return sorted(np.ascontiguousarray(image).tobytes() for image in images)


def everything(data: ImageData) -> list[bytes]:
    return multiset([*data.train.numpy(), *data.held_out.numpy()])


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Random uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def encode(image: np.ndarray, form: str = "PNG", **options) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()


def write_folder(folder: Path, count: int, *, size: tuple[int, int] = (8, 8), grey: bool = False) -> np.ndarray:
    """`count` PNGs 00.png, 01.png, ... of size (width, height); the pixels, (count, H, W[, 3])."""
    folder.mkdir(parents=True, exist_ok=True)
    images = pixels(count, size[1], size[0], *(() if grey else (3,)))
    for i, image in enumerate(images):
        (folder / f"{i:02}.png").write_bytes(encode(image))
    return images


def write_cifar10(root: Path, monkeypatch, per_batch: int = 10) -> np.ndarray:
    """Five training batches, the test batch and the names, as pickles; training pixels, (N, 3, 32, 32)."""
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    images = pixels(6 * per_batch, 3, 32, 32)
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    sums = []
    for i, name in enumerate(batches):
        part = images[i * per_batch : (i + 1) * per_batch].reshape(per_batch, -1)
        data = pickle.dumps({"data": part, "labels": [0] * per_batch})
        (folder / name).write_bytes(data)
        sums.append([name, md5(data)])
    meta = pickle.dumps({"label_names": ["thing"]})
    (folder / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5(meta)})
    return images[: 5 * per_batch]


def pack_cifar10(root: Path, monkeypatch) -> bytes:
    """The archive that is published, of what `write_cifar10` wrote; its checksum becomes the published one."""
    from torchvision.datasets import CIFAR10

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(root / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(buffer.getvalue()))
    return buffer.getvalue()


def write_svhn(root: Path, monkeypatch, count: int = 24) -> np.ndarray:
    """train_32x32.mat: X is (32, 32, 3, N); the pixels as (N, 3, 32, 32)."""
    from torchvision.datasets import SVHN

    images = pixels(32, 32, 3, count)
    savemat(root / "train_32x32.mat", {"X": images, "y": np.full((count, 1), 10, np.uint8)})
    sums = md5((root / "train_32x32.mat").read_bytes())
    monkeypatch.setitem(SVHN.split_list, "train", ["http://nowhere.invalid/x", "train_32x32.mat", sums])
    return images.transpose(3, 2, 0, 1)


def write_fashion_mnist(root: Path, monkeypatch, count: int = 24, *, zipped: bool = False) -> np.ndarray:
    """The four idx files, or their .gz; training pixels (N, 28, 28). Their checksums become the published ones."""
    from torchvision.datasets import FashionMNIST

    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = pixels(count, 28, 28)
    resources, unpacked = [], {}
    for part, n in (("train", count), ("t10k", 3)):
        files = {
            f"{part}-images-idx3-ubyte": struct.pack(">4I", 0x803, n, 28, 28) + images[:n].tobytes(),
            f"{part}-labels-idx1-ubyte": struct.pack(">2I", 0x801, n) + bytes(n),
        }
        for name, data in files.items():
            packed = gzip.compress(data)
            resources.append((f"{name}.gz", md5(packed)))
            unpacked[name] = hashlib.sha256(data).hexdigest()
            (raw / (f"{name}.gz" if zipped else name)).write_bytes(packed if zipped else data)
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    monkeypatch.setattr(published, "FASHION_MNIST_SHA256", unpacked)
    return images


def face(value: int) -> np.ndarray:
    """A 178x218 image: `value` within the middle 140x140 pixels, white around them."""
    image = np.full((218, 178, 3), 255, np.uint8)
    image[39:179, 19:159] = value
    return image


def write_celeba(folder: Path, numbers: range) -> None:
    """Aligned faces NNNNNN.jpg whose middle has the grey level of their number modulo 200."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number:06}.jpg").write_bytes(encode(face(number % 200), "JPEG", quality=95))


def zip_folder(folder: Path, archive: Path) -> None:
    """`folder` as a zip whose members start with the folder's name."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(f"{folder.name}/", b"")
        for path in sorted(folder.iterdir()):
            out.write(path, f"{folder.name}/{path.name}")


def write_lsun(folder: Path, count: int = 24, *, bad: int | None = None) -> None:
    """An lmdb of WebP images, 96x72, image i of grey level 10 i; entry `bad` holds no image."""
    import lmdb

    folder.mkdir(parents=True)
    environment = lmdb.open(str(folder), map_size=2**24)
    with environment.begin(write=True) as transaction:
        for i in range(count):
            data = encode(np.full((72, 96, 3), 10 * i, np.uint8), "WEBP", lossless=True)
            transaction.put(hashlib.sha1(b"%d" % i).hexdigest().encode(), b"no image" if i == bad else data)
    environment.close()
