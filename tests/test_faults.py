"""A short subset of the injected faults; `nox -s faults` runs them all, on more models and through whole programs."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys

import pytest

from bench.results.cell_folder import CHECKPOINT, PREVIOUS, CellFolder, read_all
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import PROJECTION, SMOKE, finish, finished, fork, last_line, wait_until
from tests.faults.results import assert_nothing_left_over, assert_same_results, same_cell

UPDATES = 100  # long enough to be met in training by one who looks in every millisecond
ONE = [*SMOKE, *PROJECTION, "--models", "ebm", "--set", f"ebm.updates={UPDATES}"]
OFTEN = ["training.checkpoint_minutes=1e-9"]  # a checkpoint after every update
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's signals and limits of processes")
pytestmark = linux


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The cell, never interrupted."""
    return finished(ONE, tmp_path_factory.mktemp("whole"))


def stop(arguments, out, log, number, come):
    """Send the signal as soon as `come` is true; the process's exit status, negative for a signal that killed it."""
    process = fork([*arguments, "--out", out], log, report=False)
    assert wait_until(come, process), log.read_text()
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def test_kills_lose_nothing(whole, tmp_path):
    """In the first training, a continued one, the evaluation, and when the record has just been written."""
    out, log, chance = tmp_path / "out", tmp_path / "log", random.Random(7)
    cell = same_cell(CellFolder.all_in(whole)[0], out)

    def at_update(n):
        def come():
            try:
                return load_checkpoint(cell.checkpoint_path)[1]["done"] >= n
            except Exception:  # not there yet
                return False

        return come

    moments = [at_update(update) for update in sorted(chance.sample(range(1, UPDATES - 4), 2))]
    moments.append(lambda: (status := cell.read_status()) is not None and status.state == "evaluating")
    moments.append(lambda: cell.has_record)
    for come in moments:
        assert stop([*ONE, *OFTEN], out, log, signal.SIGKILL, come) == -signal.SIGKILL
    written = cell.record_path.stat().st_mtime_ns
    status, said = finish([*ONE, *OFTEN, "--out", out], log)
    assert status == 0, said
    assert cell.record_path.stat().st_mtime_ns == written
    assert_same_results(whole, out)
    assert_nothing_left_over(out)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_training(number, whole, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cell = same_cell(CellFolder.all_in(whole)[0], out)
    no_grids = [*ONE, "training.grids=0"]  # each would save as well

    def training():
        return (status := cell.read_status()) is not None and status.state == "training"

    assert stop(no_grids, out, log, number, training) == 128 + number
    assert number.name in last_line(log.read_text())
    done = load_checkpoint(cell.checkpoint_path)[1]["done"]
    assert 0 < done < UPDATES
    assert (cell.read_status().state, cell.read_status().update) == ("interrupted", done)
    status, said = finish([*ONE, "--out", out], log)
    assert status == 0, said
    assert_same_results(whole, out)


def test_damaged_checkpoints_are_passed_over(whole, tmp_path):
    """A bit of the last one: the one before it is used; bits of both: a new start. The end is the same."""
    out, log = tmp_path / "out", tmp_path / "log"
    cell = same_cell(CellFolder.all_in(whole)[0], out)
    stop([*ONE, *OFTEN], out, log, signal.SIGKILL, cell.previous_path.exists)
    shutil.copy(cell.previous_path, cell.checkpoint_path)  # the kill may have come between two renames
    both = shutil.copytree(out, tmp_path / "both")
    for root, names in ((out, [CHECKPOINT]), (both, [CHECKPOINT, PREVIOUS])):
        for name in names:
            path = same_cell(cell, root).path / name
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        status, said = finish([*ONE, *OFTEN, "--out", root], tmp_path / f"log-{root.name}")
        assert status == 0, said
        assert said.count("warning: cannot read the checkpoint") == len(names)
        assert_same_results(whole, root)


def test_two_processes_make_a_cell_once(whole, tmp_path):
    logs = [tmp_path / f"log-{k}" for k in range(2)]
    processes = [fork([*ONE, "--out", tmp_path / "out"], log, report=False) for log in logs]
    for process in processes:
        process.join()
    said = "".join(log.read_text() for log in logs)
    assert [process.exitcode for process in processes] == [0, 0], said
    assert said.count(": finished after") == 1
    assert said.count(": already there (finished)") == 1
    assert_same_results(whole, tmp_path / "out")


def test_a_full_disk_is_one_line_and_no_part_of_a_file(whole, tmp_path):
    """A limit on the size of files stands for the disk: the log fits, a checkpoint does not."""
    out, log = tmp_path / "out", tmp_path / "log"
    process = fork([*ONE, *OFTEN, "--out", out], log, report=False)
    assert wait_until(lambda: any(out.glob("cells/*/*/*")), process), log.read_text()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))
    process.join()
    said = log.read_text()
    assert process.exitcode == 2, said
    assert "Traceback" not in said
    assert "File too large" in last_line(said)
    (cell,) = CellFolder.all_in(out)
    assert not cell.has_record
    assert cell.read_status().state == "interrupted"
    assert not list(out.rglob("*.tmp"))
    status, said = finish([*ONE, *OFTEN, "--out", out], log)
    assert status == 0, said
    assert_same_results(whole, out)


def test_divergence_is_an_outcome_and_its_last_finite_state_is_kept(tmp_path):
    wild = [*ONE, *OFTEN, "ebm.lr=1e6", "ebm.lr_final=1e6"]
    status, said = finish([*wild, "--out", tmp_path / "out"], tmp_path / "log")
    assert status == 1, said
    (record,) = read_all(tmp_path / "out")
    assert record.data["status"] == "diverged"
    assert "; try --set ebm.lr=500000 ebm.lr_final=500000 ebm.sigma=" in record.data["message"]
    assert record.stopped_at == record.data["training"]["updates"]
    state, _ = load_checkpoint(record.folder / CHECKPOINT)
    assert all(tensor.isfinite().all() for tensor in state["learner"].values())
