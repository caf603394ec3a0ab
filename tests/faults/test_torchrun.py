"""One training by several processes from the command line: torchrun's results, and ranks that die."""

from __future__ import annotations

import contextlib
import csv
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from bench.results.cell_folder import CellFolder
from tests import ranks as processes
from tests.faults.processes import PROJECTION, SMOKE, finished, run, wait_until
from tests.faults.results import assert_same_results, comparable
from tests.test_faults import linux

UPDATES = 200
GRID = [*SMOKE, *PROJECTION, "--models", "ebm", "--set", f"ebm.updates={UPDATES}", "training.grids=1"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A cell by two ranks that torchrun itself has started."""
    out = tmp_path_factory.mktemp("together") / "out"
    torchrun = ["--nproc-per-node", "2", "-m", "tests.ranks", *GRID, "--out", out]
    ended = run(torchrun, module="torch.distributed.run")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count(": finished after") == 1
    return out


@linux
def test_torchrun_gives_the_results_of_one_process(results, tmp_path):
    alone = finished(GRID, tmp_path)
    records, weights, logs = [], [], []
    for out in (alone, results):
        cell = CellFolder(out, "digits", "ebm", 0)
        records.append(comparable(cell.read_record().data))
        weights.append(load_file(cell.weights_path))
        with open(cell.log_path, newline="") as file:
            logs.append(list(csv.DictReader(file)))
    assert [record["environment"].pop("ranks", None) for record in records] == [None, 2]
    assert records[0]["environment"] == records[1]["environment"]
    assert records[0]["config"] == records[1]["config"]
    first = [{name: float(value) for name, value in log[0].items() if name != "seconds"} for log in logs]
    assert first[1] == pytest.approx(first[0], rel=1e-4)
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-2, atol=1e-3)


@linux
def test_a_rank_that_dies_ends_the_run_and_the_same_command_continues_it(results, tmp_path, monkeypatch):
    """Either rank killed, then a signal to both: the end is that of a run that nothing happened to."""
    out = tmp_path / "out"
    cell, command = CellFolder(out, "digits", "ebm", 0), [*GRID, "training.checkpoint_minutes=1e-9", "--out", str(out)]

    def saved_at():
        with contextlib.suppress(OSError):  # not there yet, or about to be replaced
            return cell.checkpoint_path.stat().st_mtime_ns
        return 0

    def begin():
        before, pair = saved_at(), processes.Together(command, tmp_path, monkeypatch)
        assert wait_until(lambda: saved_at() > before, pair.ranks[0]), pair.end()
        return pair

    for killed in (1, 0):
        pair = begin()
        os.kill(pair.ranks[killed].pid, signal.SIGKILL)
        statuses, said = pair.end()
        assert statuses == ([2, -9] if killed else [-9, 2]), said
        (line,) = [line for line in said[1 - killed].splitlines() if line.startswith("bench.compare: ")]
        assert line.startswith(f"bench.compare: rank {1 - killed} of 2 cannot go on: another rank has gone")
        assert line.endswith("the same command continues from the last checkpoint")
    pair = begin()
    for rank in reversed(pair.ranks):
        os.kill(rank.pid, signal.SIGTERM)
    statuses, said = pair.end()
    assert statuses == [143, 0], said
    assert said[1] == ""
    assert cell.read_status().state == "interrupted"
    statuses, said = processes.Together(command, tmp_path, monkeypatch).end()
    assert statuses == [0, 0], said
    assert_same_results(results, out)
