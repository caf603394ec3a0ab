"""Locks and space: who may work on a cell, what killed writers left, what the disk can take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bench.errors import UserError
from bench.grid import space
from bench.results.cell_folder import CellFolder
from bench.results.locks import report_lock, reporting, taken
from tests.builders import cell_folder, trainer


def test_a_cell_is_taken_once(tmp_path):
    first, second = cell_folder(tmp_path), cell_folder(tmp_path)
    assert not first.is_locked
    with first.held() as own:
        assert own
        with second.held() as also:
            assert not also
        assert second.is_locked
        with CellFolder(tmp_path, "digits", "ebm", 1).held() as other:
            assert other
    assert not first.is_locked
    with second.held() as own:
        assert own


def test_a_cell_is_free_again_when_the_work_on_it_failed(tmp_path):
    with pytest.raises(KeyError), cell_folder(tmp_path).held():
        raise KeyError
    assert not cell_folder(tmp_path).is_locked


def test_a_lock_is_free_when_its_owner_was_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from bench.results.cell_folder import CellFolder\n"
        "with CellFolder(Path(sys.argv[1]), 'digits', 'ebm', 0).held() as own: print(own, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "True\n"
        assert cell_folder(tmp_path).is_locked
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while cell_folder(tmp_path).is_locked and time.monotonic() < deadline:
        time.sleep(0.05)
    with cell_folder(tmp_path).held() as own:
        assert own


def test_one_report_at_a_time_and_without_what_a_killed_one_left(tmp_path):
    left = [tmp_path / "plots" / "digits" / ".samples.png.1.tmp", tmp_path / ".table.md.1.tmp"]
    others = [tmp_path / "cells" / "digits" / ".record.json.1.tmp", tmp_path / "main" / ".table.md.1.tmp"]
    (tmp_path / "main" / "cells").mkdir(parents=True)  # both under other locks
    for path in (*left, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with reporting(tmp_path):
        assert not taken(report_lock(tmp_path))
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in others)
    assert taken(report_lock(tmp_path))


def test_what_a_killed_writer_left_goes(tmp_path):
    cell = cell_folder(tmp_path)
    kept = [cell.log_path, cell.grid_path(7)]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.123.tmp").write_bytes(b"half")
        path.write_bytes(b"whole")
    cell.sweep()
    assert sorted(path for path in cell.path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_full_disk_is_refused_with_both_numbers(tmp_path, monkeypatch):
    t = trainer("dcgan")
    parameters = sum(p.numel() for net in t.networks for p in net.parameters())
    assert space.while_training(t) >= 3 * 3 * 4 * parameters
    free = space.shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: free)
    space.refuse_full(tmp_path / "new" / "folder", 5 * 2**20)
    with pytest.raises(UserError, match=r"about 1,024 MiB are needed and 5 MiB are free"):
        space.refuse_full(tmp_path, 2**30)
