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
from bench.results.locks import cell_lock, is_locked, report_lock, reporting, sweep, taken
from tests.builders import trainer

CELL = ("digits", "ebm", 0)


def test_a_cell_is_taken_once(tmp_path):
    first, second = cell_lock(tmp_path, *CELL), cell_lock(tmp_path, *CELL)
    assert not is_locked(tmp_path, *CELL)
    assert taken(first)
    assert not taken(second)
    assert is_locked(tmp_path, *CELL)
    assert taken(cell_lock(tmp_path, "digits", "ebm", 1))
    first.release()
    assert taken(second)


def test_a_lock_is_free_when_its_owner_was_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from bench.results.locks import cell_lock, taken\n"
        f"lock = cell_lock(Path(sys.argv[1]), *{CELL!r}); print(taken(lock), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "True\n"
        assert is_locked(tmp_path, *CELL)
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_locked(tmp_path, *CELL) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert taken(cell_lock(tmp_path, *CELL))


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
    (tmp_path / ".record.json.123.tmp").write_bytes(b"half")
    (tmp_path / "log.csv").write_text("update\n")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_full_disk_is_refused_with_both_numbers(tmp_path, monkeypatch):
    t = trainer("dcgan")
    parameters = sum(p.numel() for net in t.networks for p in net.parameters())
    assert space.while_training(t) >= 3 * 3 * 4 * parameters
    free = space.shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: free)
    space.refuse_full(tmp_path / "new" / "folder", 5 * 2**20)
    with pytest.raises(UserError, match=r"about 1,024 MiB are needed and 5 MiB are free"):
        space.refuse_full(tmp_path, 2**30)
