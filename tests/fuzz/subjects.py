"""The readers: valid files to start from, and the function from bytes, which may raise the documented errors alone."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.config import registry, settings
from bench.data import archives, arrays, celeba, decoding
from bench.errors import UserError
from bench.features import cache
from bench.grid.request import SECTIONS
from bench.paper import toy
from bench.results import status
from bench.results.record import Record, parse, record_bytes
from bench.storage import checkpoint
from bench.storage.sealed import DamagedError, seal
from tests import fabricate
from tests.fuzz import forms
from tests.fuzz.forms import Form

PATH = Path("cells/digits/ebm/seed-0/record.json")
MODELS = {name: registry.factory(name).Config for name in registry.MODELS}


@dataclass(frozen=True)
class Subject:
    """`read` returns whether the content was accepted; it raises for an error that is not a documented one."""

    name: str
    form: Form
    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], bool]


def _one_line(error: Exception) -> None:
    """A message goes to a terminal: one line, without what would steer it."""
    message = str(error)
    assert message.strip(), "an empty message"
    assert message.isprintable(), f"a message that is not one printable line: {message!r}"
    assert len(message) < 2000, f"a message of {len(message)} letters"


def _accepts(read: Callable[[bytes], Any]) -> Callable[[bytes], bool]:
    def reads(content: bytes) -> bool:
        try:
            read(content)
        except (UserError, DamagedError) as error:
            _one_line(error)
            return False
        return True

    return reads


# Records


def _records() -> list[bytes]:
    finished = fabricate.record(evaluation_seeds=(0,))
    for part in (finished, *finished["references"].values()):
        part["metrics"] = part["metrics"][:2]
    finished["curves"] = finished["curves"][:1]
    return [
        record_bytes(one) for one in (finished, fabricate.record(diverged_at=7), fabricate.record(out_of_memory=True))
    ]


def _read_record(content: bytes) -> None:
    record = Record(PATH, parse(content, PATH))
    assert record_bytes(record.data) == content
    for text in (record.dataset, record.model, *(metric["label"] for metric in record.metrics)):
        assert isinstance(text, str)
    assert isinstance(record.seed + record.stopped_at, int)
    assert record.samples_per_second is None or record.samples_per_second >= 0
    assert record.finished or not record.metrics
    for metric in record.metrics:
        assert record.metric(metric["name"]) is metric
    for image in record.data["images"].values():
        assert (PATH.parent / image["file"]).parent == PATH.parent
        assert image["rows"] * image["columns"] > 0


# Profiles


def _profiles() -> list[bytes]:
    return [(settings.PROFILES / f"{name}.toml").read_bytes() for name in ("smoke", "paper", "cpu")]


def _read_profile(content: bytes) -> None:
    """The profile with every configuration that it makes; and each of its lines as an override of the command line."""
    sections = [*SECTIONS, *MODELS]
    for line in content.decode("utf-8", "replace").splitlines()[:3]:
        _accepts(lambda text: _build_all(settings.parse_overrides([f"ebm.{text.decode()}"], sections)))(line.encode())
    profile = settings.parse_profile(content, Path("mine.toml"))
    for dataset in ["digits", *profile.per_dataset][:3]:
        _build_all({section: profile.settings(dataset, section) for section in sections})


def _build_all(values: dict[str, dict[str, Any]]) -> None:
    for section, chosen in values.items():
        settings.build({**SECTIONS, **MODELS}[section], chosen, section)


# Sealed files of tensors


def _checkpoints() -> list[bytes]:
    state = {
        "model": {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3), "none": torch.empty(0, 2)},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    }
    about = {"run": "x", "done": 3, "seconds": 0.5, "rows": [{"update": 1, "loss": 0.5}], "last": {"loss": 0.5}}
    half = {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.tensor([True])}
    return [bytes(checkpoint.checkpoint_bytes(*one)) for one in ((state, about), (half, {}), ({}, {}))]


def _read_checkpoint(content: bytes) -> None:
    state, description = checkpoint.parse_checkpoint(content)
    again = checkpoint.parse_checkpoint(bytes(checkpoint.checkpoint_bytes(state, description)))
    assert again[0].keys() == state.keys()
    assert _held(state) <= len(content), "tensors that are larger than their file"


def _held(node: Any) -> int:
    if isinstance(node, torch.Tensor):
        return node.numel() * node.element_size()
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return sum(map(_held, children))


KEY = json.dumps({"what": "train", "images": [4, 1, 8, 8]})


def _entries() -> list[bytes]:
    tensors = {"features": torch.arange(12.0).view(4, 3), "logits": torch.zeros(4, 5)}
    return [bytes(seal(tensors, KEY)), bytes(seal(tensors, "another key"))]


def _read_entry(content: bytes) -> None:
    features, logits = (getattr(cache.parse(content, KEY, 4, 3), name) for name in ("features", "logits"))
    assert features.shape == (4, 3)
    assert len(logits) == 4
    assert torch.isfinite(features).all()


# Images and archives


def _images() -> list[bytes]:
    pixels = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    colour, grey = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0])
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    wanted = [(colour, form, {}) for form in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")] + [
        (colour, "JPEG", {"exif": exif, "progressive": True}),
        (grey, "PNG", {}),
        (grey, "GIF", {"save_all": True, "append_images": [grey]}),
        (colour.convert("P"), "PNG", {"transparency": 0}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True, "save_all": True, "append_images": [colour]}),
        (deep, "PNG", {}),
        (colour.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "tiff_deflate", "save_all": True, "append_images": [colour]}),
    ]
    files = []
    for image, form, options in wanted:
        file = io.BytesIO()
        image.save(file, form, **options)
        files.append(file.getvalue())
    return files


def _read_image(content: bytes) -> None:
    with warnings.catch_warnings(action="ignore"):
        image = decoding.decode(content, "x.png", orient=True).image
    assert image.mode in ("L", "RGB")
    assert 0 < image.width * image.height <= decoding.MAX_PIXELS


def _archives() -> list[bytes]:
    files = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as out:
            out.writestr("img_align_celeba/", b"")
            for number in (1, 2, 162_771):
                out.writestr(f"img_align_celeba/{number:06}.jpg", b"face" * 20)
        files.append(file.getvalue())
    return files


def _read_archive(content: bytes) -> None:
    archive = archives.Archive.open(io.BytesIO(content), "faces.zip", "get it again")
    celeba._training(archive.names(), Path("faces.zip"))
    for member in archive.names()[:4]:
        assert len(archive.read(member)) <= archives.MAX_BYTES


def _arrays() -> list[bytes]:
    pixels, files = np.arange(60, dtype=np.uint8).reshape(5, 2, 2, 3), []
    for save in (np.save, np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, pixels)
        files.append(file.getvalue())
    return files


def _read_array(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder, "made.npz")
        path.write_bytes(content)
        pool = arrays.open_array(path)
        images, _ = pool.read(range(min(len(pool), 2)))
        assert images.dtype == torch.uint8
        assert images.shape[1] in (1, 3)
        del pool  # the mapping, before its file


# What a cell or a toy keeps beside its record


def _statuses() -> list[bytes]:
    there = status.CellStatus("training", 3, 10, 2.5, 2.8, {"loss": 0.5}, 4711, "", "2026-01-31T10:15:30+00:00")
    return [json.dumps(asdict(one)).encode() for one in (there, status.CellStatus("waiting"))]


def _read_status(content: bytes) -> bool:
    found = status.parse(content)
    if found is None:
        return False
    assert status.status_text(found).isascii()
    assert all(abs(value) < float("inf") for value in found.scalars.values())
    return True


def _toys() -> list[bytes]:
    masses = base64.b64encode(bytes(4 * len(toy.PARTS) * 2 * 2)).decode()
    entry = {"title": "rings", "total_variation": {"short_run": 0.1, "learned": 0.5}, "masses": masses}
    index = {"schema": 2, "seed": 0, "settings": {"bins": 2, "updates": 20}, "truths": {"rings": entry}}
    return [record_bytes(index), record_bytes(index | {"truths": {}})]


def _read_toy(content: bytes) -> None:
    for one in toy.parse(content, Path("toy/toy.json")):
        assert isinstance(one.seed + one.settings["bins"], int)
        assert isinstance(one.name + one.title, str)
        assert set(one.masses) == set(toy.PARTS)
        assert all(0 <= value <= 1 for value in one.total_variation.values())


SUBJECTS = {
    one.name: one
    for one in (
        Subject("record", forms.RECORD, _records, _accepts(_read_record)),
        Subject("profile", forms.PROFILE, _profiles, _accepts(_read_profile)),
        Subject("cache", forms.SEALED, _entries, _accepts(_read_entry)),
        Subject("checkpoint", forms.SEALED, _checkpoints, _accepts(_read_checkpoint)),
        Subject("image", forms.IMAGE, _images, _accepts(_read_image)),
        Subject("archive", forms.PLAIN, _archives, _accepts(_read_archive)),
        Subject("array", forms.PLAIN, _arrays, _accepts(_read_array)),
        Subject("status", forms.JSON, _statuses, _read_status),
        Subject("toy", forms.RECORD, _toys, _accepts(_read_toy)),
    )
}
