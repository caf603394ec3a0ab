"""Samples drawn by two processes, in whole programs: the same results, and no process left behind."""

from __future__ import annotations

import json
import os
import signal

import psutil
import pytest

from bench.results.cell_folder import CellFolder
from bench.scoring.scores import FILE
from tests.faults.processes import PROJECTION, SMOKE, finished, fork, run, terminate, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results

MANY = ["evaluation.samples=4000", "evaluation.sweep_samples=640"]
GRID = [*SMOKE, *PROJECTION, "--models", "ebm", "tests.faults.own_models:Plain", "--set", *MANY]
TWO = ["--sampling-workers", "2"]
CELL = ("digits", "ebm", 0)

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="more sampling workers than cores are refused")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The grid, its samples drawn by one process."""
    return finished(GRID, tmp_path_factory.mktemp("whole"))


def helpers(process):
    """The processes that draw samples for a run."""
    with_them = psutil.Process(process.pid).children()
    return [one for one in with_them if "resource_tracker" not in " ".join(one.cmdline())]


def test_a_grid_s_results_do_not_depend_on_the_number_of_workers(whole, tmp_path):
    out = finished([*GRID, *TWO], tmp_path)
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_a_stored_model_s_scores_do_not_either(whole, tmp_path):
    found = []
    for more in ([], TWO):
        out = tmp_path / str(len(more))
        arguments = [CellFolder(whole, *CELL).path, *SMOKE[2:], *PROJECTION, *more, "--out", out]
        done = run(arguments, module="bench.evaluate")
        assert done.returncode == 0, done.stderr
        found.append(json.loads((out / FILE).read_text()))
        found[-1].pop("throughput")
    assert found[0] == found[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_helpers_end_with_the_run(tmp_path, number):
    out, log = tmp_path / "out", tmp_path / "log"
    process = fork([*GRID, *TWO, "evaluation.samples=64000", "--out", out], log, report=False)
    assert wait_until(lambda: helpers(process), process), log.read_text()
    (helper,) = helpers(process)
    if number == signal.SIGTERM:
        terminate(process, log)
    else:
        os.kill(process.pid, number)
        process.join()
    helper.wait(60)
    assert not helper.is_running()
    assert not CellFolder(out, *CELL).has_record


def test_a_killed_helper_is_done_without(whole, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    process = fork([*GRID, *TWO, "--out", out], log, report=False)
    assert wait_until(lambda: helpers(process), process), log.read_text()
    helpers(process)[0].kill()
    process.join()
    assert process.exitcode == 0, log.read_text()
    assert "a sampling worker was lost (ended by SIGKILL): its samples are drawn by the others" in log.read_text()
    assert_same_results(whole, out)
