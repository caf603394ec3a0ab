"""SIGINT and SIGTERM: the update is finished, a checkpoint written, the exit status says so, and nothing is lost."""

from __future__ import annotations

import random
import signal
import time

import pytest

from bench.results.cell_folder import CellFolder
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import PROJECTION, SMOKE, finish, finished, last_line, start, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results

UPDATES = 400  # some seconds
# one checkpoint at the end and none before, unless a signal asks for it
LONG = [*SMOKE, *PROJECTION, "--models", "ebm", "--set", f"ebm.updates={UPDATES}", "training.grids=0"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(LONG, tmp_path_factory.mktemp("whole"))


def until(state, process, out):
    def there():
        return any(status.state == state for cell in CellFolder.all_in(out) if (status := cell.read_status()))

    assert wait_until(there, process), process.communicate()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_is_saved_and_continued(number, whole, tmp_path):
    out = tmp_path / "out"
    process = start([*LONG, "--out", out])
    until("training", process, out)
    (cell,) = CellFolder.all_in(out)
    time.sleep(random.Random(number).uniform(0.0, 1.0))
    assert not cell.checkpoint_path.exists()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert number.name in last_line(err)
    assert "same command continues" in last_line(err)
    assert "Traceback" not in err
    assert not cell.has_record
    _, description = load_checkpoint(cell.checkpoint_path)
    assert 0 < description["done"] < UPDATES
    status = cell.read_status()
    assert (status.state, status.update) == ("interrupted", description["done"])

    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 0, said
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


def test_an_evaluation_is_left_at_once_and_its_training_kept(whole, tmp_path):
    out = tmp_path / "out"
    process = start([*LONG, "--out", out])
    until("evaluating", process, out)
    (cell,) = CellFolder.all_in(out)
    saved = cell.checkpoint_path.read_bytes()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert not cell.has_record
    status, said = finish([*LONG, "--out", out], tmp_path / "log")
    assert status == 0, said
    assert saved
    assert_same_results(whole, out)


def test_a_second_signal_does_not_wait(tmp_path):
    """An update of minutes: the first signal would end the run after it, the second ends it now."""
    slow = [*SMOKE, "--models", "ebm", "--set", "ebm.n_f=64", "ebm.steps=4000", "ebm.batch_size=64"]
    process = start([*slow, "--out", tmp_path])
    until("waiting", process, tmp_path)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
