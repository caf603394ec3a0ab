"""Disks that take no more, and folders that take nothing: one line, no part of a file, and the run can go on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess

import pytest
from PIL import Image

from bench.results.cell_folder import RECORD, CellFolder
from bench.results.record import read
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import PROJECTION, SMOKE, finish, finished, last_line, run, start, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results

UPDATES = 300
LONG = [*SMOKE, *PROJECTION, "--models", "ebm", "--set", f"ebm.updates={UPDATES}", "training.checkpoint_minutes=1e-3"]


@pytest.fixture
def disk(tmp_path):
    """Mounts a file system of so many MiB in memory."""
    mounted = []

    def mount(mebibytes):
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(LONG, tmp_path_factory.mktemp("whole"))


def fill(folder):
    """A file of all the space that is left."""
    with open(folder / "ballast", "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    return folder / "ballast"


def assert_every_file_is_whole(out):
    assert not list(out.rglob("*.tmp"))
    for path in out.rglob("*"):
        if path.name == RECORD:
            read(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load_checkpoint(path)
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.is_file() and path.suffix != ".lock" and path.name != "ballast":
            assert path.stat().st_size > 0, path


def assert_one_line(err, *words):
    assert "Traceback" not in err
    line = last_line(err)
    assert line.startswith("bench.compare: ")
    for word in words:
        assert word in line


def test_a_disk_that_is_too_small_is_refused_before_any_training(disk, tmp_path):
    out = disk(2) / "out"
    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 2, said
    assert_one_line(said, str(out), "MiB", "free")
    assert not out.exists()


def test_a_disk_that_fills_up_while_training(disk, whole, tmp_path):
    folder = disk(64)
    out = folder / "out"
    process = start([*LONG, "--out", out])
    assert wait_until(lambda: any(out.glob("cells/*/*/*/checkpoint.safetensors")), process), process.communicate()[1]
    ballast = fill(folder)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert_one_line(err, "No space left on device", "same command continues")
    assert_every_file_is_whole(out)
    (cell,) = CellFolder.all_in(out)
    assert not cell.has_record
    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 2  # still full
    assert_one_line(said, "free")
    assert_every_file_is_whole(out)

    ballast.unlink()
    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 0, said
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_a_file_that_may_not_grow(whole, tmp_path):
    """The same without a mount, for a limit on the size of files: a checkpoint does not fit, log and status do."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))

    out = tmp_path / "out"
    finished = run([*LONG, "--out", out, "--no-cache"], preexec_fn=limit)
    assert finished.returncode == 2, finished.stderr
    assert_one_line(finished.stderr, "File too large")
    assert_every_file_is_whole(out)
    (cell,) = CellFolder.all_in(out)
    assert not cell.has_record
    assert cell.read_status().state == "interrupted"
    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 0, said
    assert_same_results(whole, out)


@pytest.fixture
def read_only(disk):
    folder = disk(1)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)  # the superuser ignores permissions
    return folder


def test_a_read_only_folder_is_refused_before_any_training(read_only, tmp_path):
    status, said = finish([*LONG, "--out", read_only / "out"], tmp_path / "log")
    assert status == 2, said
    assert_one_line(said, str(read_only))
    assert "finished" not in said


def test_a_read_only_cache_is_passed_over(read_only, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(read_only / "cache"))
    status, said = finish([*LONG, "--out", tmp_path / "out"], tmp_path / "log")
    assert status == 0, said
    assert said.count("cannot be written") == 1
    assert_same_results(whole, tmp_path / "out")
    assert os.listdir(read_only) == []
