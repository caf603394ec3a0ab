"""Kinds of image files: endings, depths and ranges; each is read as its 8-bit twin, named in the notes, or refused."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import decoding, folder
from tests.data_layouts import encode, everything, face, multiset, pixels, read, refused, write_folder

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6  # PNG's colour types


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(levels: np.ndarray, depth: int, colour: int, *, transparent: tuple[int, ...] = ()) -> bytes:
    """The bytes of a PNG of (H, W, C) levels, written by hand: Pillow writes no 16-bit colour."""
    h, w = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in levels)
    key = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("colour", "mode"), [(GREY, "I;16"), (RGB, "RGB;16"), (GREY_ALPHA, "LA;16"), (RGBA, "RGBA;16")]
)
def test_sixteen_bits_a_channel_give_what_eight_give(colour, mode):
    levels = pixels(8, 8, {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}[colour])
    eight = decoding.decode(png(levels, 8, colour), "eight")
    sixteen = decoding.decode(png(levels.astype(int) * 257, 16, colour), "sixteen")
    assert sixteen.mode == mode
    assert (sixteen.image.mode, sixteen.transparent) == (eight.image.mode, eight.transparent)
    assert np.array_equal(np.asarray(sixteen.image), np.asarray(eight.image))


@pytest.mark.parametrize(("colour", "channels"), [(GREY, 1), (RGB, 3)])
def test_a_transparent_level_of_sixteen_bits_is_composited_too(colour, channels):
    levels = pixels(8, 8, channels)
    key = tuple(map(int, levels[2, 3]))
    eight = decoding.decode(png(levels, 8, colour, transparent=key), "eight")
    wide = tuple(257 * level for level in key)
    sixteen = decoding.decode(png(levels.astype(int) * 257, 16, colour, transparent=wide), "sixteen")
    assert sixteen.transparent
    assert np.all(np.asarray(sixteen.image)[2, 3] == 255)
    assert np.array_equal(np.asarray(sixteen.image), np.asarray(eight.image))


def test_sixteen_bits_are_noted_and_grey_with_alpha_stays_grey(tmp_path):
    images = write_folder(tmp_path / "grey", 12, grey=True)
    solid = np.stack([images[3], np.full((8, 8), 255)], axis=-1)
    (tmp_path / "grey" / "03.png").write_bytes(png(solid.astype(int) * 257, 16, GREY_ALPHA))
    data = read(f"folder:{tmp_path / 'grey'}")
    assert everything(data) == multiset(images[:, None])
    assert "1 of 12 images converted to 8-bit grey (1 LA;16)" in data.notes
    colour = write_folder(tmp_path / "colour", 12)
    (tmp_path / "colour" / "03.png").write_bytes(png(colour[3].astype(int) * 257, 16, RGB))
    (tmp_path / "colour" / "04.png").unlink()
    wide = (colour[4].astype(">u2") * 257).tobytes()
    (tmp_path / "colour" / "04.ppm").write_bytes(b"P6 8 8 65535\n" + wide)
    data = read(f"folder:{tmp_path / 'colour'}")
    assert everything(data) == multiset(colour.transpose(0, 3, 1, 2))
    assert "2 of 12 images converted to RGB (2 RGB;16)" in data.notes


def test_grey_levels_of_a_known_range_are_scaled(tmp_path):
    """16 bits in PNG, TIFF and PGM, and a PGM whose white is 4095."""
    levels = pixels(8, 8)
    wide = levels.astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide).save(tmp_path / "a.tif")
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + wide.astype(">u2").tobytes())
    for name in ("a.png", "a.tif", "a.pgm"):
        assert np.array_equal(np.asarray(decoding.decode(tmp_path / name, name).image), levels), name
    white = b"P5 2 2 4095\n" + struct.pack(">4H", 0, 4095, 4095, 0)
    assert np.asarray(decoding.decode(white, "white.pgm").image).ravel().tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("value", [-1, 200, 70_000])
def test_whole_numbers_of_32_bits_have_no_known_range(tmp_path, value):
    Image.fromarray(np.full((16, 16), value, np.int32)).save(tmp_path / "a.tif")
    with refused("a.tif", "32-bit whole-number pixels of unknown range", "8 bits a channel"):
        decoding.decode(tmp_path / "a.tif", "a.tif")


def test_every_ending_of_a_jpeg_is_read(tmp_path):
    endings = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".JPG", ".JFIF")
    for i, ending in enumerate(endings * 2):
        (tmp_path / f"{i}{ending}").write_bytes(encode(pixels(8, 8, 3, seed=i), "JPEG"))
    data = read(f"folder:{tmp_path}")
    assert len(everything(data)) == 14
    assert not any("left out" in note for note in data.notes)


@pytest.mark.skipif(not decoding.AVIF, reason="this Pillow reads no AVIF")
def test_avif_is_read_where_pillow_reads_it(tmp_path):
    write_folder(tmp_path, 12)
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.avif")
    data = read(f"folder:{tmp_path}")
    assert len(everything(data)) == 13
    assert b"\xff" * 192 in everything(data)


def test_images_that_cannot_be_read_are_counted(tmp_path, monkeypatch):
    write_folder(tmp_path, 12)
    for name in ("a.heic", "b.HEIC", "c.jxl", ".hidden.heic", "labels.csv"):
        (tmp_path / name).write_bytes(b"?")
    data = read(f"folder:{tmp_path}")
    assert "3 images were left out, whose formats are not read: 2 .heic, 1 .jxl" in data.notes
    assert len(everything(data)) == 12
    monkeypatch.setattr(folder, "EXTENSIONS", (".png",))  # an older Pillow
    (tmp_path / "d.avif").write_bytes(b"?")
    assert any("1 .avif, 2 .heic, 1 .jxl" in note for note in read(f"folder:{tmp_path}").notes)


def test_a_folder_of_unread_formats_says_what_it_holds(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"?")
    with refused("no image", tmp_path, "there are 1 .heic: convert them"):
        read(f"folder:{tmp_path}")


def celeba_zip(root: Path, form: str, ending: str) -> None:
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as out:
        for number in range(1, 14):
            out.writestr(f"img_align_celeba/{number:06}{ending}", encode(face(number), form))
        out.writestr("img_align_celeba/readme.txt", b"words")


@pytest.mark.parametrize(("form", "ending"), [("PNG", ".png"), ("JPEG", ".jpeg"), ("JPEG", ".JPG")])
def test_a_celeba_zip_is_read_as_the_folder_is(tmp_path, form, ending):
    celeba_zip(tmp_path, form, ending)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip") as archive:
        archive.extractall(unpacked)
    assert read("celeba", tmp_path).content_hash == read("celeba", unpacked).content_hash
