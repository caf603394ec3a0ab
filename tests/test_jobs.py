"""Cells side by side, `--jobs N`: the same results as one after another, whatever happens to a worker."""

from __future__ import annotations

import os
import signal

import pytest

from bench.engines.progress import Display, line_of
from bench.machine import gpu
from bench.results.cell_folder import CellFolder, read_all
from bench.results.status import CellStatus
from tests.faults.processes import PROJECTION, SMOKE, finished, fork, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results
from tests.test_faults import linux

UPDATES = 60
GRID = [*SMOKE, *PROJECTION, "--models", "ebm", "vae", "--set", f"ebm.updates={UPDATES}"]
AT_ONCE = ["--jobs", "2"]  # and a thread in all: each worker has one


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The grid, one cell after another."""
    return finished(GRID, tmp_path_factory.mktemp("whole"))


def training(cell):
    return (status := cell.read_status()) is not None and status.state == "training"


@linux
def test_a_killed_worker_s_cell_is_continued_and_the_results_are_those_of_one_job(whole, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cell = CellFolder(out, "digits", "ebm", 0)
    process = fork([*GRID, "training.checkpoint_minutes=1e-9", *AT_ONCE, "--out", out], log, report=False)
    assert wait_until(lambda: training(cell) and cell.checkpoint_path.exists(), process), log.read_text()
    worker = cell.read_status().pid
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    process.join()
    said = log.read_text()
    assert process.exitcode == 0, said
    assert "a worker was ended by SIGKILL at digits ebm seed 0: another one continues" in said
    assert sorted(line for line in said.splitlines() if ": finished after" in line)[0].startswith("[1/2] digits ebm")
    assert said.count(": finished after") == 2
    assert [record.data["environment"]["threads"] for record in read_all(out)] == [1, 1]
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_a_cell_s_line():
    status = CellStatus("training", 300, 1000, 12.5, 56.0)
    assert line_of("digits ebm seed 0", status) == (
        "digits ebm seed 0: training, update 300 of 1000, 12.5 updates/s, 56 s left"
    )
    assert line_of("a", CellStatus("training", 3, 10)) == "a: training, update 3 of 10"
    assert line_of("a", CellStatus("evaluating")) == "a: evaluating"
    assert line_of("a", None) == line_of("a", CellStatus("waiting")) == "a: starting"


def test_lines_on_a_terminal_are_drawn_in_place(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    display = Display(True, clock=lambda: now[0])
    display.show(lambda: ["a: 1", "b: 1"])
    display.show(lambda: ["never: too early"])
    display.say("kept")
    now[0] = 1.0
    display.show(lambda: ["a: 2"])
    display.clear()
    display.clear()
    up_two, up_one = "\x1b[2F\x1b[J", "\x1b[1F\x1b[J"
    assert capsys.readouterr().err == f"a: 1\nb: 1\n{up_two}kept\na: 2\n{up_one}"


def test_each_gpu_by_the_name_that_shows_it_alone(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu.visible() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc,-1,2")
    assert gpu.visible() == ["3", "GPU-abc"]
