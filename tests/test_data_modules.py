"""Data sets of a module of the user's own: `package.module:SOURCE`, from loading to a finished cell."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from bench import compare
from bench.data import DATASETS, label
from bench.data.source import Source, TensorPool
from bench.results.cell_folder import read_all
from tests.commands import SMOKE
from tests.data_layouts import everything, multiset, pixels, read, refused

IMAGES = pixels(150, 1, 8, 8)
SOURCE = Source(lambda root, side, progress: TensorPool(torch.from_numpy(IMAGES.copy())), status=str, sides=(8,))
TARGET = f"{__name__}:SOURCE"
NOTHING = 3


class Pool:
    """Twenty images, and whatever `given` is when they are read."""

    def __init__(self, given):
        self.given = given

    def __len__(self):
        return 20

    def read(self, chosen):
        return self.given, ()


def offer(monkeypatch, given) -> str:
    source = Source(lambda root, side, progress: Pool(given), status=str)
    monkeypatch.setattr(sys.modules[__name__], "OFFERED", source, raising=False)
    return f"{__name__}:OFFERED"


def test_a_source_of_a_module_is_split_like_any_other():
    data = read(TARGET)
    assert (len(data.train), len(data.held_out)) == (125, 25)
    assert everything(data) == multiset(IMAGES)
    assert data.name == label(TARGET) == "tests.test_data_modules-SOURCE"
    with refused(TARGET, "16", "--image-size can be 8"):
        read(TARGET, image_size=16)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("my.module:BIRDS", "my.module-BIRDS"),
        ("vögel:SOURCE", "vögel-SOURCE"),
        ("a&b/c:SOURCE", "a-b-c-SOURCE"),
        ("lsun:bedroom", "module-lsun-bedroom"),
        ("Fashion:MNIST", "module-Fashion-MNIST"),
        ("folder:SOURCE", "SOURCE"),  # a path, whatever it looks like
    ],
)
def test_a_label_is_safe_in_a_path_and_imports_nothing(spec, name):
    assert label(spec) == name
    assert "/" not in name
    assert name not in DATASETS


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_such_module:SOURCE", ["data set 'no_such_module:SOURCE' cannot be imported"]),
        (f"{__name__}:SAUCE", ["has no 'SAUCE'"]),
        (f"{__name__}:NOTHING", ["no bench.data.source.Source", "docs/data.md"]),
        ("module:", ["unknown data set", *DATASETS, "package.module:SOURCE"]),
        ("digits:SOURCE", ["unknown data set", *DATASETS, "package.module:SOURCE"]),
    ],
)
def test_what_is_no_data_set_is_one_line(spec, words):
    with refused(repr(spec), *words):
        read(spec)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((20, 1, 8, 8), np.uint8), "a ndarray"),
        (torch.zeros(20, 1, 8, 8), "torch.float32 (20, 1, 8, 8)"),
        (torch.zeros(19, 1, 8, 8, dtype=torch.uint8), "torch.uint8 (19, 1, 8, 8)"),
        (torch.zeros(20, 8, 8, dtype=torch.uint8), "torch.uint8 (20, 8, 8)"),
        (torch.zeros(20, 2, 8, 8, dtype=torch.uint8), "torch.uint8 (20, 2, 8, 8)"),
        (torch.zeros(20, 8, 8, 3, dtype=torch.uint8), "torch.uint8 (20, 8, 8, 3)"),
        (torch.zeros(20, 3, 8, 6, dtype=torch.uint8), "torch.uint8 (20, 3, 8, 6)"),
    ],
)
def test_a_pool_that_gives_no_images_is_told_so(given, said, monkeypatch):
    spec = offer(monkeypatch, given)
    with refused(spec, f"gave {said}", "uint8 (20, 1 or 3, side, side)"):
        read(spec)


def test_a_good_pool_of_any_side_is_taken(monkeypatch):
    assert read(offer(monkeypatch, torch.zeros(20, 3, 5, 5, dtype=torch.uint8))).image_shape == (3, 5, 5)


def test_a_cell_of_it(tmp_path):
    features = ["--features", "tests.faults.own_extractor:Projection"]
    arguments = ["--datasets", TARGET, "--models", "vae", "--out", str(tmp_path), *features]
    assert compare.main([*SMOKE, *arguments]) == 0
    (record,) = read_all(tmp_path)
    assert record.finished
    assert record.dataset == label(TARGET)
    assert record.data["config"]["data"]["source"] == TARGET
