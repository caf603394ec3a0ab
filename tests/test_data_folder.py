"""Folders of images: what is found, decoded and converted, and what bad input gets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data import decoding
from bench.data.folder import walk
from bench.errors import UserError
from tests.data_layouts import (
    encode,
    everything,
    multiset,
    pixels,
    read,
    refused,
    write_folder,
)


def folder(path: Path, **config):
    return read(f"folder:{path}", **config)


def test_a_folder_flat_or_by_class_gives_the_same_images(tmp_path, monkeypatch):
    flat, classes = tmp_path / "flat", tmp_path / "classes" / "train"
    images = write_folder(flat, 12)
    for i in range(12):
        target = classes / f"class{i % 3}" / f"{i:02}.PNG"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(flat / f"{i:02}.png", target)
    (flat / "list.txt").write_text("not an image")
    (flat / "._00.png").write_text("what macOS leaves in archives")
    a = folder(flat)
    assert everything(a) == everything(folder(classes)) == multiset(images.transpose(0, 3, 1, 2))
    assert (a.name, len(a.train), len(a.held_out)) == ("flat", 10, 2)
    monkeypatch.chdir(tmp_path)
    relative = read("folder:classes/train", Path("elsewhere"))
    assert relative.name == "classes-train"
    assert relative.content_hash == folder(classes).content_hash


def test_the_order_is_that_of_the_paths_whatever_the_disk_gives(tmp_path, monkeypatch):
    there = [(str(tmp_path), ["c"], ["b.png", "a.png"]), (str(tmp_path / "c"), [], ["2.png", "1.png"])]
    monkeypatch.setattr(os, "walk", lambda *args, **options: iter(there))
    assert walk(tmp_path) == ["a.png", "b.png", "c/1.png", "c/2.png"]


def test_links_that_go_round_are_walked_once(tmp_path):
    write_folder(tmp_path / "a", 12)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    assert len(everything(folder(tmp_path / "a"))) == len(everything(folder(tmp_path / "b"))) == 12


def test_links_that_lead_out_of_the_folder_are_stated(tmp_path):
    write_folder(tmp_path / "inside", 13)
    write_folder(tmp_path / "elsewhere", 3)
    assert not any("links" in note for note in read(f"folder:{tmp_path / 'inside'}").notes)
    (tmp_path / "inside" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "inside" / "image.png").symlink_to(tmp_path / "elsewhere" / "00.png")
    (tmp_path / "inside" / "again.png").symlink_to(tmp_path / "inside" / "00.png")
    notes = read(f"folder:{tmp_path / 'inside'}").notes
    assert "4 of 18 images lie outside the folder, behind links" in notes


def test_a_pipe_or_a_folder_among_the_images_is_named_and_not_waited_for(tmp_path):
    write_folder(tmp_path, 13)
    os.mkfifo(tmp_path / "pipe.png")
    with refused(tmp_path / "pipe.png", "no file but a folder, pipe or device"):
        read(f"folder:{tmp_path}")


def test_a_file_far_too_large_is_not_opened(tmp_path):
    write_folder(tmp_path, 13)
    with open(tmp_path / "large.webp", "wb") as file:
        file.truncate(2**40)  # sparse: no block of it is on the disk
    with refused(tmp_path / "large.webp", "1,099,511,627,776 bytes"):
        read(f"folder:{tmp_path}")


def test_training_and_test_subfolders_pooled_are_stated(tmp_path):
    write_folder(tmp_path / "train" / "x", 12)
    write_folder(tmp_path / "test" / "x", 12)
    assert "the subfolders test, train were pooled" in folder(tmp_path).notes


def test_only_the_chosen_images_are_decoded(tmp_path):
    write_folder(tmp_path, 40)
    chosen = folder(tmp_path, max_train=4, held_out=2)
    for i in range(40):
        keep = pixels(40, 8, 8, 3)[i].transpose(2, 0, 1).tobytes() in everything(chosen)
        if not keep:
            (tmp_path / f"{i:02}.png").write_text("broken")
    assert folder(tmp_path, max_train=4, held_out=2).content_hash == chosen.content_hash
    with refused("cannot be read as an image"):
        folder(tmp_path)


def test_grey_images_of_every_mode_stay_grey(tmp_path):
    images = write_folder(tmp_path, 12, grey=True)
    levels = pixels(8, 8).astype(np.uint16) * 257
    Image.fromarray(levels).save(tmp_path / "00.png")
    Image.fromarray(images[1] > 127).save(tmp_path / "01.png")
    data = folder(tmp_path)
    assert data.image_shape == (1, 8, 8)
    expected = [(levels // 257).astype(np.uint8), (images[1] > 127).astype(np.uint8) * 255, *images[2:]]
    assert everything(data) == multiset(image[None] for image in expected)
    assert "2 of 12 images converted to 8-bit grey (1 1, 1 I;16)" in data.notes


def test_one_colour_image_makes_all_rgb_and_conversions_are_counted(tmp_path):
    grey = write_folder(tmp_path, 12, grey=True)
    red = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    red.putpixel((0, 0), (0, 0, 0, 0))  # transparent, over white
    red.save(tmp_path / "05.png")
    Image.new("CMYK", (8, 8)).save(tmp_path / "06.jpg")
    frames = [Image.new("P", (8, 8), i) for i in range(2)]
    frames[0].putpalette([0, 0, 255, 0, 255, 0])
    frames[0].save(tmp_path / "07.gif", save_all=True, append_images=frames[1:])
    data = folder(tmp_path)
    assert data.image_shape == (3, 8, 8)
    expected = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    expected[0, 0] = 255
    blue = np.full((8, 8, 3), (0, 0, 255), np.uint8)
    assert {image.transpose(2, 0, 1).tobytes() for image in (expected, blue)} <= set(everything(data))
    assert np.repeat(grey[0][None], 3, 0).tobytes() in everything(data)
    notes = " | ".join(data.notes)
    assert "14 of 14 images converted to RGB (1 CMYK, 11 L, 1 P, 1 RGBA)" in notes
    assert "1 of 14 images had an alpha channel, composited over white" in notes
    assert "1 of 14 images had several frames: the first was taken" in notes


def test_mixed_sizes_ask_for_a_side_and_then_are_cropped_and_resized(tmp_path):
    write_folder(tmp_path, 12)
    Image.new("RGB", (40, 20), "red").save(tmp_path / "03.png")
    with refused("03.png is 40x20", "is 8x8", "--image-size"):
        folder(tmp_path)
    data = folder(tmp_path, image_size=16)
    assert data.image_shape == (3, 16, 16)
    assert "1 of 12 images cropped to their centre square" in data.notes
    assert "12 of 12 images resized to 16x16 (Lanczos, antialiased), 11 of them enlarged" in data.notes


def test_equal_sizes_are_kept_but_cropped_to_a_square(tmp_path):
    images = write_folder(tmp_path, 12, size=(12, 8))
    data = folder(tmp_path)
    assert everything(data) == multiset(images[:, :, 2:10].transpose(0, 3, 1, 2))
    assert "12 of 12 images cropped to their centre square" in data.notes


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(encode(stripes))
    middle = folder(tmp_path, image_size=8).train[:, :, :, 2:6].float()
    assert (middle - 127.5).abs().max() < 8  # a nearest or bilinear pick would be near 0 or 255


def test_exif_orientation_is_obeyed(tmp_path):
    for i in range(12):
        image = Image.new("RGB", (8, 8), "black")
        image.paste("white", (0, 0, 8, 4))  # the upper half
        exif = Image.Exif()
        exif[0x0112] = 3  # turned by 180 degrees
        image.save(tmp_path / f"{i}.png", exif=exif)
    data = folder(tmp_path)
    assert data.train[:, :, 4:].min() == 255
    assert data.train[:, :, :4].max() == 0
    assert "12 of 12 images turned as their EXIF orientation says" in data.notes


def test_large_images_are_read_by_threads_in_order(tmp_path, monkeypatch):
    images = write_folder(tmp_path, 40, size=(16, 16))
    monkeypatch.setattr(decoding, "TINY", 0)
    monkeypatch.setattr(decoding, "GROUP", 3)
    by_threads = folder(tmp_path)
    monkeypatch.setattr(decoding, "TINY", 10**9)
    assert by_threads.content_hash == folder(tmp_path).content_hash
    assert everything(by_threads) == multiset(images.transpose(0, 3, 1, 2))


# Bad input


def test_folders_that_hold_nothing_to_read(tmp_path, monkeypatch):
    with refused("no folder", tmp_path / "missing"):
        folder(tmp_path / "missing")
    (tmp_path / "file.png").write_bytes(encode(pixels(8, 8)))
    with refused(tmp_path / "file.png", "not a folder"):
        folder(tmp_path / "file.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with refused("no image", tmp_path / "empty", ".png"):
        folder(tmp_path / "empty")
    write_folder(tmp_path / "few", 11)
    with refused(tmp_path / "few", "11 images", "12"):
        folder(tmp_path / "few")

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)  # a mode of 000 would not stop root
    with refused(tmp_path / "few", "Permission denied", "may read"):
        folder(tmp_path / "few")


def torn_jpeg() -> bytes:
    data = encode(pixels(64, 64, 3), "JPEG")
    return data[: len(data) // 2]


def torn_png() -> bytes:
    return encode(pixels(64, 64, 3))[:2000]


@pytest.mark.parametrize(
    ("data", "word"),
    [(torn_jpeg(), "truncated"), (torn_png(), "truncated"), (b"", "identify"), (b"\n\ntext\n", "identify")],
)
def test_a_broken_image_is_named(tmp_path, data, word):
    write_folder(tmp_path, 12)
    (tmp_path / "07.png").write_bytes(data)
    with refused(tmp_path / "07.png", word, "replace the file or move it"):
        folder(tmp_path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_a_dangling_link_is_named(tmp_path):
    write_folder(tmp_path, 12)
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with refused(tmp_path / "link.png", "broken link"):
        folder(tmp_path)


@pytest.mark.parametrize("side", [8_000, 20_000])  # above this project's bound, and above Pillow's own
def test_a_decompression_bomb_is_refused_unread(tmp_path, monkeypatch, side):
    write_folder(tmp_path, 12)
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded") if image.width > 8 else None)
    monkeypatch.setattr(decoding, "_eight_bit", lambda image, *others: Image.new("L", image.size))
    with refused(tmp_path / "bomb.png", "pixels", "shrink it or move it"):
        folder(tmp_path)


def test_pixels_without_a_known_range_are_refused(tmp_path):
    for mode in ("F", "I"):
        Image.new(mode, (8, 8), -1).save(tmp_path / "pixels.tif")
        with refused("pixels.tif", "8 bits a channel"):
            decoding.decode(tmp_path / "pixels.tif", "pixels.tif")


def test_more_pixels_than_memory_holds(tmp_path, monkeypatch):
    write_folder(tmp_path, 12)

    def full(*args):
        raise MemoryError

    monkeypatch.setattr(np, "empty", lambda shape, dtype: full() if len(shape) == 4 else np.zeros(shape, dtype))
    with refused("12 images of 8x8", "GiB", "--image-size"):
        folder(tmp_path)


def test_an_eps_in_disguise_is_not_run(tmp_path):
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(UserError, match="identify"):
        decoding.decode(tmp_path / "x.png", "x.png")
