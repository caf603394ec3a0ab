"""CelebA and LSUN on small files in their published layouts; names, labels and the listing."""

from __future__ import annotations

import os
import sys
import warnings
import zipfile

import pytest
import torch

from bench.data import DATASETS, archives, decoding, label, listing, lsun
from tests.data_layouts import (
    encode,
    face,
    pixels,
    read,
    refused,
    write_celeba,
    write_lsun,
    zip_folder,
)

# CelebA


@pytest.mark.parametrize("place", ["celeba/img_align_celeba", "img_align_celeba"])
@pytest.mark.parametrize("zipped", [False, True])
def test_celeba_takes_the_middle_of_training_faces(tmp_path, place, zipped):
    faces = tmp_path / ("elsewhere/img_align_celeba" if zipped else place)
    write_celeba(faces, range(1, 14))
    write_celeba(faces, range(162_771, 162_773))  # validation: never read
    if zipped:
        zip_folder(faces, tmp_path / f"{place}.zip")
    before = sorted(tmp_path.rglob("*"))
    data = read("celeba", tmp_path)
    assert data.image_shape == (3, 64, 64)
    greys = torch.cat([data.train, data.held_out]).float().mean(dim=(1, 2, 3)).round()
    assert sorted(greys.tolist()) == pytest.approx(list(range(1, 14)), abs=1)
    assert max(data.train.max(), data.held_out.max()) < 40  # the white surround is cropped away
    assert any("13 of the 162,770" in note for note in data.notes)
    assert any("140x140" in note and "64x64" in note for note in data.notes)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is extracted


def test_celeba_gives_the_same_from_folder_and_zip_at_each_side(tmp_path):
    write_celeba(tmp_path / "a" / "img_align_celeba", range(1, 13))
    zip_folder(tmp_path / "a" / "img_align_celeba", tmp_path / "b" / "img_align_celeba.zip")
    for side in (32, 128):
        a, b = (read("celeba", tmp_path / root, image_size=side) for root in "ab")
        assert a.image_shape == (3, side, side)
        assert a.content_hash == b.content_hash


def test_celeba_that_is_missing_or_wrong(tmp_path):
    with refused("celeba", "img_align_celeba.zip", tmp_path / "celeba", "mmlab.ie.cuhk.edu.hk", "no attribute file"):
        read("celeba", tmp_path)
    faces = tmp_path / "img_align_celeba"
    faces.mkdir()
    with refused(faces, "000001.jpg", "mmlab"):
        read("celeba", tmp_path)
    write_celeba(faces, range(1, 13))
    with refused("celeba", "16", "64, 32, 128"):
        read("celeba", tmp_path, image_size=16)
    (faces / "000007.jpg").write_bytes(encode(pixels(300, 200, 3), "JPEG"))
    with refused("000007.jpg", "200x300", "178x218", "folder:PATH"):
        read("celeba", tmp_path)


def test_celeba_from_a_bad_zip(tmp_path, monkeypatch):
    archive = tmp_path / "img_align_celeba.zip"
    archive.write_text("<html>Google Drive - Quota exceeded</html>")
    with refused(archive, "quota page", "mmlab"):
        read("celeba", tmp_path)
    with zipfile.ZipFile(archive, "w") as out:
        for number in range(1, 14):
            out.writestr(f"img_align_celeba/{number:06}.jpg", encode(face(number), "JPEG"))
    torn = bytearray(archive.read_bytes())
    torn[torn.index(b"000005.jpg") + 400] ^= 255
    archive.write_bytes(torn)
    with refused(archive, "000005.jpg", "mmlab"):
        read("celeba", tmp_path)
    monkeypatch.setattr(archives, "MAX_BYTES", 100)
    with refused(archive, "unpacks to"):
        read("celeba", tmp_path)


# Archives


def packed(path, members, method=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", method) as out:
        for name, content in members:
            out.writestr(name, content)
    return path


def test_names_that_lead_out_of_the_folder_are_labels_and_no_paths(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    places = ["../../", "/", "x/../../", "img\n/"]
    faces = [(f"{places[i % 4]}{i:06}.jpg", encode(face(i), "JPEG")) for i in range(1, 14)]
    packed(inner / "img_align_celeba.zip", faces)
    before = sorted(tmp_path.rglob("*"))
    data = read("celeba", inner)
    assert len(data.train) + len(data.held_out) == 13
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("members", "method", "words"),
    [
        ([("000001.jpg", b"a"), ("000001.jpg", b"b")], zipfile.ZIP_STORED, ["'000001.jpg' 2 times"]),
        ([("000001.jpg", bytes(2**24 + 1))], zipfile.ZIP_DEFLATED, ["000001.jpg unpacks to 16,777,217", "16,777,216"]),
        ([("000001.jpg", b"a" * 100)], zipfile.ZIP_BZIP2, ["000001.jpg is not packed by deflate"]),
        ([("000001.jpg", b"a" * 100)], zipfile.ZIP_LZMA, ["000001.jpg is not packed by deflate"]),
    ],
    ids=["twice", "bomb", "bzip2", "lzma"],
)
def test_archives_out_of_bounds_are_refused(tmp_path, members, method, words):
    path = packed(tmp_path / "x.zip", members, method)
    with refused(path, *words):
        archive = archives.Archive.open(path, str(path), "get it again")
        archive.read(members[0][0])


def test_a_member_larger_than_it_claims_is_refused(tmp_path):
    """The directory claims 10 bytes where 1,000 are packed: reading stops there, and the checksum does not fit."""
    path = packed(tmp_path / "x.zip", [("000001.jpg", b"a" * 1000)])
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    archive = archives.Archive.open(path, str(path), "get it again")
    with refused(path, "000001.jpg cannot be unpacked", "get it again"):
        archive.read("000001.jpg")


# LSUN


@pytest.mark.parametrize("place", ["lsun/bedroom_train_lmdb", "bedroom_train_lmdb"])
def test_lsun_decodes_only_the_chosen_entries(tmp_path, monkeypatch, place):
    pytest.importorskip("lmdb")
    write_lsun(tmp_path / place)
    monkeypatch.chdir(tmp_path)
    decoded = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *args, **options: decoded.append(1) or decode(*args, **options))
    data = read("lsun-bedroom", tmp_path, max_train=5, held_out=2)
    assert len(decoded) == 7
    assert data.train.shape == (5, 3, 64, 64)
    assert data.held_out.shape == (2, 3, 64, 64)
    assert data.notes == (
        "7 of 7 images cropped to their centre square",
        "7 of 7 images resized to 64x64 (Lanczos, antialiased)",
    )
    assert sorted(os.listdir(place)) == ["data.mdb", "lock.mdb"]
    assert len(os.listdir(tmp_path)) == 1  # no cache is written
    whole = read("lsun-bedroom", tmp_path)
    greys = torch.cat([whole.train, whole.held_out])[:, 0, 0, 0]
    assert sorted(greys.tolist()) == [10 * i for i in range(24)]


def test_lsun_that_is_missing_or_wrong(tmp_path, monkeypatch):
    pytest.importorskip("lmdb")
    with refused("lsun-bedroom", "bedroom_train_lmdb/data.mdb", tmp_path / "lsun", "www.yf.io"):
        read("lsun-bedroom", tmp_path)
    folder = tmp_path / "bedroom_train_lmdb"
    write_lsun(folder, bad=3)
    with refused("lsun-bedroom", "32", "64"):
        read("lsun-bedroom", tmp_path, image_size=32)
    with refused(folder, "image 77de68daecd823babbb58edb1c8e14d7106e83bb", "cannot be read as an image"):
        read("lsun-bedroom", tmp_path)
    with monkeypatch.context() as patch, refused(folder, "bytes, more than the 7 allowed", "www.yf.io"):
        patch.setattr(lsun, "MAX_BYTES", 7)
        read("lsun-bedroom", tmp_path)
    whole = (folder / "data.mdb").read_bytes()
    for data, word in ((whole[: len(whole) // 2], "bytes of"), (b"not a database" * 1000, "cannot be read")):
        (folder / "data.mdb").write_bytes(data)
        with refused(folder, word, "unpack it again"):
            read("lsun-bedroom", tmp_path)
    monkeypatch.setattr(lsun, "_lmdb", lambda: None)
    with refused("lmdb", "pip install .[lsun]"):
        read("lsun-bedroom", tmp_path)
    assert "pip install .[lsun]" in dict(listing(tmp_path))["lsun-bedroom"]


def test_a_missing_lmdb_package_is_noticed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert lsun._lmdb() is None


# Names


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("digits", "digits"),
        ("folder:data/cifar10-jpeg/train", "cifar10-jpeg-train"),
        ("folder:data/cats/Images/train/", "cats-Images-train"),
        ("folder:/a/b/my cats & dogs", "my-cats-dogs"),
        ("folder:data/../photos", "photos"),
        ("folder:data/.hidden", "hidden"),
        ("folder:data/cifar10", "folder-cifar10"),
        ("folder:/", "folder"),
        ("folder:/train", "train"),
    ],
)
def test_labels(spec, name):
    assert label(spec) == name


def test_a_label_of_the_current_folder_is_its_name(tmp_path, monkeypatch):
    (tmp_path / "cats").mkdir()
    monkeypatch.chdir(tmp_path / "cats")
    assert label("folder:.") == "cats"


def test_the_listing_says_what_is_there_and_what_is_missing(tmp_path):
    told = dict(listing(tmp_path))
    assert list(told) == list(DATASETS)
    assert told["digits"] == "there"
    assert told["cifar10"] == told["svhn"] == told["fashion-mnist"] == "can be downloaded"
    for name, word in (("celeba", "img_align_celeba.zip"), ("lsun-bedroom", "data.mdb")):
        assert told[name].startswith("missing: ")
        assert word in told[name]
        assert str(tmp_path) in told[name]
    write_celeba(tmp_path / "celeba" / "img_align_celeba", range(1, 2))
    assert dict(listing(tmp_path))["celeba"] == "there"


@pytest.mark.parametrize("spec", ["cifar-10", "folder", "folder:", "digits:8", ""])
def test_an_unknown_name_lists_the_good_ones(spec):
    with refused(repr(spec), *DATASETS):
        read(spec)
    with refused(repr(spec), *DATASETS):
        label(spec)


def test_a_side_that_a_set_has_not():
    with refused("digits", "32", "--image-size", "8"):
        read("digits", image_size=32)
