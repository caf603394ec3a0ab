"""The cache of features: computed once, equal to what was computed, and never believed when it is damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from bench.features import Features, cache, efficientnet_lite0
from bench.features.cache import cache_folder, cached
from bench.storage.sealed import unseal
from tests.feature_builders import CPU, Constant, counted, pictures


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """No test touches the user's own cache."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "default"))
    monkeypatch.setattr(cache, "_warned", set())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def entries(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def warnings(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line]


def keep(folder, extractor=None, images=None, **changes):
    images = counted(9) if images is None else images
    arguments = {"what": "train", "key": "c0ffee", "folder": folder} | changes
    return cached(extractor or Constant(), images, **arguments)


def test_features_are_computed_once_and_come_back_as_they_were(folder, capsys):
    extractor = efficientnet_lite0.build(CPU, None, side=64)
    images = pictures(6, side=8)
    first = cached(extractor, images, what="train", key="k", folder=folder)
    assert len(entries(folder)) == 1
    counter = Constant()
    seen = extractor.network.register_forward_hook(lambda m, inputs, out: counter.sizes.append(len(inputs[0])))
    again = cached(extractor, images, what="train", key="k", folder=folder)
    seen.remove()
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.logits, again.logits)
    assert again.features.shape == (6, 1280)
    assert sum(counter.sizes) == cache.PROBE < len(images)
    assert len(entries(folder)) == 1
    assert warnings(capsys) == []


def test_without_a_folder_nothing_is_kept_and_all_is_computed(tmp_path):
    extractor = Constant()
    for _ in range(2):
        assert keep(None, extractor).features.flatten().tolist() == list(range(9))
    assert sum(extractor.sizes) == 18
    assert entries(tmp_path) == []


class Other(Constant):
    """Like `Constant`, with attributes changed."""

    def __init__(self, **changes):
        super().__init__()
        for name, value in changes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    "changes",
    [
        {"what": "held out"},
        {"key": "decaf"},
        {"images": counted(8)},
        {"images": counted(9).expand(-1, 3, 1, 1)},
        {"images": counted(9).expand(-1, 1, 2, 2)},
        {"extractor": Other(name="another")},
        {"extractor": Other(name="constant/1")},
        {"extractor": Other(side=2)},
        {"extractor": Other(weights_hash="01")},
    ],
)
def test_every_part_of_the_key_counts(folder, changes, capsys):
    changed = {"extractor": Constant(), **changes}
    n = len(changed.get("images", counted(9)))
    keep(folder)
    keep(folder, **changed)
    assert len(entries(folder)) == 2
    assert sum(changed["extractor"].sizes) == n
    keep(folder, **changed)
    assert sum(changed["extractor"].sizes) == n + cache.PROBE  # from now on it is read
    assert warnings(capsys) == []


def test_without_a_key_the_images_themselves_are_the_key(folder):
    images = counted(9)
    other = images.clone()
    other[8] = 77  # past the few that are computed anew
    assert torch.equal(keep(folder, images=other, key=None).features.flatten(), other.flatten().float())
    assert torch.equal(keep(folder, images=images, key=None).features.flatten(), images.flatten().float())
    keep(folder, images=images.clone(), key=None)
    assert len(entries(folder)) == 2


# Damage

DAMAGES = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "not a features file": lambda path: path.write_text("hello"),
    "a value changed": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x42"),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "a folder"])
def test_a_damaged_entry_is_computed_again_with_one_line(folder, capsys, damage):
    keep(folder)
    (path,) = entries(folder)
    DAMAGES[damage](path)
    extractor = Constant()
    assert keep(folder, extractor).features.flatten().tolist() == list(range(9))
    assert sum(extractor.sizes) == 9
    (line,) = warnings(capsys)
    assert str(path) in line
    assert "computed again" in line
    assert keep(folder).features.flatten().tolist() == list(range(9))
    assert warnings(capsys) == []  # the entry is whole again


def test_an_entry_that_cannot_be_replaced_does_not_stop_the_run(folder, capsys):
    keep(folder)
    (path,) = entries(folder)
    DAMAGES["a folder"](path)
    assert keep(folder).features.flatten().tolist() == list(range(9))
    lines = warnings(capsys)
    assert len(lines) == 2
    assert "computed again" in lines[0]
    assert "cannot be written" in lines[1]


def test_no_single_changed_byte_goes_unseen(folder):
    keep(folder)
    (path,) = entries(folder)
    content = path.read_bytes()
    key = keyed(content)
    assert cache.parse(content, key, 9, 1).features.flatten().tolist() == list(range(9))
    for index in range(len(content)):
        changed = content[:index] + bytes([content[index] ^ 0x11]) + content[index + 1 :]
        with pytest.raises(cache.DamagedError):
            cache.parse(changed, key, 9, 1)


def keyed(content):
    return unseal(content)[1]


def test_an_entry_far_too_large_is_not_read_in(folder, capsys):
    keep(folder)
    (path,) = entries(folder)
    with path.open("r+b") as file:
        file.truncate(2**33)  # sparse: no block of it is on the disk
    assert keep(folder).features.flatten().tolist() == list(range(9))
    (line,) = warnings(capsys)
    assert "more than" in line


def test_an_entry_under_another_name_is_refused(folder, capsys):
    keep(folder, what="train")
    keep(folder, images=counted(9) + 100, what="held out")
    one, two = entries(folder)
    shutil.copy(one, two)
    assert keep(folder, what="train").features.flatten().tolist() == list(range(9))
    assert keep(folder, images=counted(9) + 100, what="held out").features[0].item() == 100
    (line,) = warnings(capsys)
    assert "of another key" in line


def test_features_that_are_not_finite_are_refused_even_with_a_right_checksum(folder):
    keep(folder)
    (path,) = entries(folder)
    key = keyed(path.read_bytes())
    poisoned = Features(torch.full((9, 1), torch.inf), torch.zeros(9, 1))
    cache._write(path, key, poisoned)
    with pytest.raises(cache.DamagedError, match="not finite"):
        cache._read(path, key, 9, 1)


def test_an_extractor_that_gives_others_now_is_noticed(folder, capsys):
    """Its code, or a library under it, may change while its name and weights stay."""
    keep(folder, Constant())
    changed = keep(folder, Constant(shift=1))
    assert changed.features.flatten().tolist() == list(range(1, 10))
    (line,) = warnings(capsys)
    assert "the extractor now gives others" in line
    assert keep(folder, Constant(shift=1)).features[0].item() == 1
    assert warnings(capsys) == []


def test_rounding_on_another_device_is_not_damage(folder, capsys):
    keep(folder, Constant())
    assert keep(folder, Constant(shift=1e-4)).features[0].item() == 0
    assert warnings(capsys) == []


# Folders


def test_a_folder_that_cannot_be_written_is_passed_over_with_one_line(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.touch()
    for what in ("train", "held out"):
        assert keep(blocked, what=what).features.flatten().tolist() == list(range(9))
    (line,) = warnings(capsys)
    assert str(blocked) in line
    assert "cannot be written" in line
    assert "going on without it" in line


def test_an_interrupted_write_leaves_no_entry(folder, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert len(keep(folder)) == 9
    assert entries(folder) == []
    assert "No space left on device" in capsys.readouterr().err


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "default"
    monkeypatch.setenv("BENCH_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "home" / "kept"
    monkeypatch.setenv("BENCH_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "short-run-ebm-benchmark"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / "home" / ".cache" / "short-run-ebm-benchmark"
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder() is None
    assert entries(tmp_path) == []
