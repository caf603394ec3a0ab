"""Array files of images: read as numpy wrote them, and everything else refused in one line."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from bench.data.arrays import open_array
from bench.errors import UserError


def images(n=5, side=4, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def written(path, array, how):
    if how == "npy":
        np.save(path.with_suffix(".npy"), array)
        return path.with_suffix(".npy")
    save = np.savez_compressed if how == "compressed" else np.savez
    save(path.with_suffix(".npz"), array, np.arange(len(array)))  # guided-diffusion's second array is its labels
    return path.with_suffix(".npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("how", ["npy", "stored", "compressed"])
def test_the_images_are_those_that_numpy_wrote(tmp_path, how, order):
    array = np.asarray(images(), order=order)
    pool = open_array(written(tmp_path / "made", array, how))
    assert len(pool) == 5
    read, notes = pool.read([4, 0, 2])
    assert np.array_equal(read.numpy(), array[[4, 0, 2]].transpose(0, 3, 1, 2))
    assert read.is_contiguous()
    assert isinstance(pool.images, np.memmap) == (how != "compressed")
    assert notes == (() if how == "npy" else ("of the file's arrays arr_0, arr_1, only arr_0 was read",))


def refusal(path):
    with pytest.raises(UserError) as caught:
        open_array(path)
    message = str(caught.value)
    assert message.isprintable()
    assert path.name in message
    return message


@pytest.mark.parametrize(
    "array",
    [
        images().astype(np.float32),
        images().transpose(0, 3, 1, 2),
        images()[..., 0],
        images(channels=4),
        images(n=0),
        np.array([{"a": 1}, None], dtype=object),
        np.zeros(3, dtype=[("r", "u1")]),
    ],
    ids=["float", "NCHW", "three axes", "four channels", "none", "objects", "fields"],
)
@pytest.mark.parametrize("how", ["npy", "stored"])
def test_other_arrays_are_refused(tmp_path, array, how):
    assert "give uint8 images (n, height, width, 1 or 3)" in refusal(written(tmp_path / "made", array, how))


class Trap:
    """What unpickling it would do must never happen."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert "object" in refusal(tmp_path / "trap.npy")


def test_statistics_of_features_are_named(tmp_path):
    np.savez(tmp_path / "reference.npz", mu=np.zeros(3), sigma=np.eye(3))
    assert "statistics of features without arr_0: mu, sigma" in refusal(tmp_path / "reference.npz")


def test_damage_is_one_line(tmp_path):
    whole = written(tmp_path / "made", images(), "stored").read_bytes()
    for i, content in enumerate([b"", b"PK", whole[:300], whole[:-30], b"GIF89a" + bytes(50)]):
        (tmp_path / f"{i}.npz").write_bytes(content)
        refusal(tmp_path / f"{i}.npz")
    plain = written(tmp_path / "plain", images(), "npy")
    for name, content in (("cut.npy", plain.read_bytes()[:-1]), ("long.npy", plain.read_bytes() + b"0")):
        (tmp_path / name).write_bytes(content)
        assert "takes 240 bytes" in refusal(tmp_path / name)
    refusal(tmp_path)  # a folder
    refusal(tmp_path / "none.npz")


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    """Before anything is allocated: the shape says 2^60 bytes."""
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824, 32768, 32768, 1), }\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)
    (tmp_path / "huge.npy").write_bytes(content)
    assert "takes 1,152,921,504,606,846,976 bytes, but there are 64" in refusal(tmp_path / "huge.npy")
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "huge.npz", "w", kind) as archive:
            archive.writestr("arr_0.npy", content)
        assert "but there are 64" in refusal(tmp_path / "huge.npz")
