"""Several processes at one results folder: every cell is made once, and each process ends with all of them."""

from __future__ import annotations

import re

import pytest

from bench.results.cell_folder import CellFolder
from tests.faults.processes import PATIENCE, PROJECTION, SMOKE, fork, start, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results


def test_two_processes_share_a_grid(reference, tmp_path, measured):
    processes = [start([*SMOKE, "--out", tmp_path]) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert not any("Traceback" in text for text in said)
    made = [re.findall(r"digits (\w+) seed 0: finished after", text) for text in said]
    there = [re.findall(r"digits (\w+) seed 0: already there", text) for text in said]
    assert sorted(made[0] + made[1]) == ["dcgan", "ebm", "vae"]
    assert all(sorted(m + t) == ["dcgan", "ebm", "vae"] for m, t in zip(made, there, strict=True))
    assert_same_results(reference, tmp_path)
    assert_nothing_left_over(tmp_path)
    assert (tmp_path / "table.md").exists()
    assert len(CellFolder.all_in(tmp_path)) == 3
    measured(f"two processes on one grid: {len(made[0])} and {len(made[1])} cells")


@pytest.mark.parametrize("attempt", range(5))
def test_four_processes_race_for_each_cell(attempt, tmp_path):
    """Started at one moment, so that each step of one may meet any step of another."""
    out, models = tmp_path / "out", ["vae", "dcgan"]
    logs = [tmp_path / f"log-{k}" for k in range(4)]
    arguments = [*SMOKE, *PROJECTION, "--models", *models, "--out", out]
    processes = [fork(arguments, log, report=False) for log in logs]
    for process in processes:
        process.join()
    said = [log.read_text() for log in logs]
    assert [process.exitcode for process in processes] == [0] * 4, said
    for model in models:
        assert "".join(said).count(f"digits {model} seed 0: finished after") == 1
        assert "".join(said).count(f"digits {model} seed 0: already there (finished)") == 3
    assert_nothing_left_over(out)


def test_a_cell_that_another_process_works_on_is_left_alone(tmp_path):
    """Not even its status is written: whoever holds the lock removes what it takes for the rest of a killed writer."""
    out, log = tmp_path / "out", tmp_path / "log"
    with CellFolder(out, "digits", "vae", 0).held() as own:
        assert own
        process = fork([*SMOKE, *PROJECTION, "--models", "vae", "--out", out], log, report=False)
        assert wait_until(lambda: log.exists() and "another process works on" in log.read_text(), process)
        assert not CellFolder.all_in(out)
    process.join()
    assert process.exitcode == 0, log.read_text()
    assert len(CellFolder.all_in(out)) == 1
