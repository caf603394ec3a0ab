"""Pictures inside the page: without loss where they can be, never a file that is no picture or a bomb."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image

from bench.report.page import embed


def decoded(source: str) -> np.ndarray:
    kind, content = source.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_a_picture_is_embedded_without_loss_and_a_huge_one_smaller(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = embed.picture(tmp_path / "a.png")
    assert (found.width, found.height) == (30, 20)
    assert np.array_equal(decoded(found.source), pixels)
    Image.new("L", (4800, 300), 200).save(tmp_path / "wide.png")
    found = embed.picture(tmp_path / "wide.png")
    assert (found.width, found.height) == (3200, 200)
    assert decoded(found.source).shape == (150, 2400, 3)


def test_noise_that_does_not_compress_is_embedded_with_loss(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    assert len(embed.picture(tmp_path / "noise.png").source) < 0.6 * (tmp_path / "noise.png").stat().st_size


def test_what_is_no_picture_is_none(tmp_path):
    assert embed.picture(tmp_path / "absent.png") is None
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    assert embed.picture(tmp_path / "bad.png") is None
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert embed.picture(tmp_path / "bomb.png") is None
    Image.new("L", (64, 64)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert embed.picture(tmp_path / "cut.png") is None
