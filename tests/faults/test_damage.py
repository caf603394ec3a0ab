"""Thirty flipped bits, in checkpoints, caches and records: each is noticed, and none reaches a result."""

from __future__ import annotations

import random
import shutil

import pytest

from bench.results.cell_folder import CHECKPOINT, PREVIOUS, CellFolder
from tests.faults.processes import PROJECTION, SMOKE, finish, fork, last_line, wait_until
from tests.faults.results import assert_same_results

FLIPS = 10  # of each of the three kinds
ONE = [*SMOKE, *PROJECTION, "--models", "dcgan"]
OFTEN = ["--set", "training.checkpoint_minutes=1e-9"]


def flip(path, chance):
    content = bytearray(path.read_bytes())
    place = chance.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """The entries that this grid uses, and no others."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, own_cache):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(own_cache))
        status, said = finish([*ONE, "--out", folder / "out"], folder / "log", report=True)
    assert status == 0, said
    return folder / "out"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, cache):
    """A run killed when it had two checkpoints."""
    out = tmp_path_factory.mktemp("stopped")
    process = fork([*ONE, *OFTEN, "--out", out], out.parent / "stopped.log")
    two = [f"cells/*/*/*/{name}" for name in (CHECKPOINT, PREVIOUS)]
    assert wait_until(lambda: all(any(out.glob(name)) for name in two), process)
    process.kill()
    process.join()
    (cell,) = CellFolder.all_in(out)
    shutil.copy(cell.previous_path, cell.checkpoint_path)  # the kill may have come between two renames
    assert not cell.has_record
    return out


def again(out, log, report=False):
    """The same command once more."""
    return finish([*ONE, *OFTEN, "--out", out], log, report=report)


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_in_the_last_checkpoint(seed, whole, stopped, tmp_path):
    out = shutil.copytree(stopped, tmp_path / "out")
    (cell,) = CellFolder.all_in(out)
    flip(cell.checkpoint_path, random.Random(seed))
    status, said = again(out, tmp_path / "log")
    assert status == 0, said
    assert said.count("warning: cannot read the checkpoint") == 1
    assert str(cell.checkpoint_path) in said
    assert_same_results(whole, out)


def test_both_checkpoints_damaged_is_a_new_start(whole, stopped, tmp_path):
    out = shutil.copytree(stopped, tmp_path / "out")
    (cell,) = CellFolder.all_in(out)
    flip(cell.checkpoint_path, random.Random(0))
    cell.previous_path.write_bytes(cell.previous_path.read_bytes()[:-1])
    status, said = again(out, tmp_path / "log")
    assert status == 0, said
    assert said.count("warning: cannot read the checkpoint") == 2
    assert_same_results(whole, out)


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_in_the_cache(seed, whole, own_cache, tmp_path, monkeypatch):
    own = shutil.copytree(own_cache, tmp_path / "cache")
    monkeypatch.setenv("BENCH_CACHE", str(own))
    entries = sorted(path for path in own.rglob("*") if path.is_file())
    assert entries
    chance, before = random.Random(seed), [path.read_bytes() for path in entries]
    for path in entries:
        flip(path, chance)
    status, said = again(tmp_path / "out", tmp_path / "log")
    assert status == 0, said
    assert said.count("are not usable") == len(entries)
    assert_same_results(whole, tmp_path / "out")
    assert [path.read_bytes() for path in entries] == before  # made anew


@pytest.mark.parametrize("seed", range(FLIPS))
def test_a_flipped_bit_in_a_record(seed, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    (cell,) = CellFolder.all_in(out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.*")}
    flip(cell.record_path, random.Random(seed))
    status, said = again(out, tmp_path / "log", report=True)
    assert status == 2, said
    assert len(said.splitlines()) == 1
    assert str(cell.path) in last_line(said)
    assert "restore the file, or move the folder" in last_line(said)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.*")} == before  # no table was made of it
    if seed == 0:  # the remedy that it names
        cell.path.rename(cell.path.with_name("seed-0.damaged"))
        assert again(out, tmp_path / "again")[0] == 0
        assert_same_results(whole, out)
