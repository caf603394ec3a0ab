"""A Ray cluster of three nodes that loses a node or its driver, is told to stop, or runs a cell that fails."""

from __future__ import annotations

import time

import pytest

from bench.results.cell_folder import CellFolder, read_all
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import PROJECTION, finish, finished, fork, terminate, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results
from tests.ray_cluster import kill_node, running, three_nodes

SMOKE = ["--profile", "smoke", "--quiet", "--device", "cpu"]
UPDATES = 400
GRID = [*SMOKE, *PROJECTION, "--models", "ebm", "vae", "--set", f"ebm.updates={UPDATES}"]
OFTEN = ["training.checkpoint_minutes=1e-9"]


@pytest.fixture(scope="module")
def cluster(cache):
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with three_nodes() as nodes:
            yield nodes


@pytest.fixture(scope="module")
def whole(cluster, tmp_path_factory):
    return finished([*GRID, "--threads", "1"], tmp_path_factory.mktemp("whole"))


@pytest.fixture
def on(cluster):
    """The options that send cells to the cluster."""
    return ["--engine", "ray", "--address", cluster.address]


def saved(cell):
    return running(cell) and cell.checkpoint_path.exists()


def test_a_lost_node_s_cell_goes_on_elsewhere(cluster, whole, on, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cell = CellFolder(out, "digits", "ebm", 0)
    process = fork([*GRID, *OFTEN, *on, "--out", out], log, report=False)
    assert wait_until(lambda: saved(cell), process), log.read_text()
    kill_node(cluster, cell.read_status())
    process.join()
    said = log.read_text()
    assert process.exitcode == 0, said
    assert said.count("digits ebm seed 0: its task on node") == 1
    assert said.count(": finished after") == 2
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_a_killed_driver_s_run_is_continued(whole, on, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cell = CellFolder(out, "digits", "ebm", 0)
    process = fork([*GRID, *OFTEN, *on, "--out", out], log, report=False)
    assert wait_until(lambda: saved(cell), process), log.read_text()
    process.kill()
    process.join()
    assert not cell.has_record
    done = load_checkpoint(cell.checkpoint_path)[1]["done"]
    assert 0 < done < UPDATES
    status, said = finish([*GRID, *OFTEN, *on, "--out", out], log)
    assert status == 0, said
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_a_signal_saves_what_runs_on_the_nodes(on, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cell = CellFolder(out, "digits", "ebm", 0)
    endless = [*GRID, "training.grids=0", "ebm.updates=1000000", "--models", "ebm", *on, "--out", out]
    process = fork(endless, log, report=False)
    assert wait_until(lambda: running(cell), process), log.read_text()
    time.sleep(1)
    assert not cell.checkpoint_path.exists()
    terminate(process, log)
    assert load_checkpoint(cell.checkpoint_path)[1]["done"] > 0
    assert cell.read_status().state == "interrupted"


def test_what_a_cell_comes_to_is_recorded_and_the_others_go_on(on, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    models = ["--models", "ebm", "tests.faults.own_models:OutOfMemory", "vae"]
    wild = ["--set", "ebm.lr=1e6", "ebm.lr_final=1e6"]
    status, said = finish([*SMOKE, *PROJECTION, *models, *wild, *on, "--out", out], log)
    assert status == 1, said
    found = {record.model: record.data["status"] for record in read_all(out)}
    assert found == {"OutOfMemory": "oom", "ebm": "diverged", "vae": "finished"}


def test_a_mistake_in_a_model_is_shown_and_ends_the_run(on, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    status, said = finish([*SMOKE, *PROJECTION, "--models", "tests.faults.own_models:Faulty", *on, "--out", out], log)
    assert status == 1, said
    assert "ZeroDivisionError: a mistake in the model" in said
    assert not read_all(out)
