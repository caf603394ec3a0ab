"""Status files: what a watcher reads while a cell has no record, and the table of `python -m bench.status`."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results.cell_folder import CellFolder
from bench.results.status import CellStatus, StatusWriter, read, status_text, write
from bench.status import duration, lines, main, table
from tests import fabricate

ROOT = Path(__file__).parent.parent


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_what_is_written_is_read(tmp_path):
    status = CellStatus(
        "training", 300, 1000, 12.5, 56.0, {"energy gap": 0.25}, 17, "slow", "2026-01-01T00:00:00+00:00"
    )
    cell = CellFolder(tmp_path, "digits", "ebm", 0)
    cell.write_status(status)
    assert cell.read_status() == status
    cell.clean_up("diverged")
    assert cell.read_status() is None
    cell.clean_up("diverged")  # twice does no harm


def test_the_time_is_put_in(tmp_path):
    write(tmp_path / "status", CellStatus("waiting"))
    assert read(tmp_path / "status").changed.endswith("+00:00")


def test_scalars_that_are_not_finite_are_left_out(tmp_path):
    write(tmp_path / "status", CellStatus("training", scalars={"a": 1.0, "b": math.nan, "c": math.inf}))
    assert read(tmp_path / "status").scalars == {"a": 1.0}


GOOD = {"state": "training", "update": 3, "updates": 10, "rate": 1.5, "scalars": {"loss": 1.0}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"state": "training"}' + b" " * 100_000,
        *(
            json.dumps(GOOD | change).encode()
            for change in (
                {"state": "flying"},
                {"state": ["training"]},
                {"update": "3"},
                {"update": True},
                {"update": math.nan},
                {"rate": math.inf},
                {"rate": 10**400},
                {"scalars": {"loss": "1"}},
                {"scalars": {"loss": math.nan}},
                {"scalars": [1]},
                {"message": 5},
                {"pid": None},
            )
        ),
    ],
)
def test_a_damaged_status_counts_as_none(tmp_path, content):
    path = tmp_path / "status.json"
    path.write_bytes(json.dumps(GOOD).encode())
    assert read(path).update == 3  # the same file, whole, is read
    path.write_bytes(content)
    assert read(path) is None


@pytest.fixture
def cell(tmp_path) -> CellFolder:
    return CellFolder(tmp_path, "digits", "ebm", 3)


def test_rate_and_time_left(cell, clock):
    """Updates at 4 a second from update 100 on: the rate is 4 and not (100 + ...) / seconds, as after a resume."""
    writer = StatusWriter(cell.write_status, every=5.0, clock=clock)
    for done in range(100, 201):
        clock.now = (done - 100) / 4
        writer.training(done, 1000, {"loss": 1 / (done + 1)})
    status = cell.read_status()
    assert (status.update, status.updates, status.pid) == (200, 1000, os.getpid())
    assert status.rate == pytest.approx(4.0)
    assert status.seconds_left == pytest.approx(800 / 4)


def test_the_rate_follows_a_change(cell, clock):
    writer = StatusWriter(cell.write_status, every=1.0, clock=clock)
    speeds = [10.0] * 200 + [2.0] * 200
    for done, elapsed in enumerate(itertools.accumulate(1 / speed for speed in speeds)):
        clock.now = elapsed
        writer.training(done, 1000, {})
        if done == 199:
            assert cell.read_status().rate == pytest.approx(10.0, rel=1e-6)
    assert cell.read_status().rate == pytest.approx(2.0, rel=1e-3)


def test_writes_are_throttled_but_changes_of_state_are_not(clock):
    written = []
    writer = StatusWriter(written.append, every=5.0, clock=clock)
    for done in range(101):  # 10 seconds
        clock.now = done / 10
        writer.training(done, 100, {})
    assert [status.update for status in written] == [0, 50, 100]
    writer.evaluating()
    writer.interrupted("by SIGTERM")
    assert [status.state for status in written[3:]] == ["evaluating", "interrupted"]
    assert written[-1].update == 100
    assert written[-1].message == "by SIGTERM"


def test_an_interruption_keeps_the_update_that_no_write_has_shown_yet(cell, clock):
    writer = StatusWriter(cell.write_status, clock=clock)
    for done in range(8):
        writer.training(done, 100, {})
    assert cell.read_status().update == 0
    writer.interrupted()
    assert status_text(cell.read_status()) == "interrupted at update 7"


def test_no_error_of_the_disk_reaches_the_training(tmp_path, clock):
    cell = CellFolder(tmp_path, "digits", "ebm", 0)
    cell.path.parent.mkdir(parents=True)
    cell.path.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="seed-0"):
        cell.write_status(CellStatus("training"))
    writer = StatusWriter(cell.write_status, clock=clock)
    writer.training(1, 2, {})
    writer.evaluating()
    writer.interrupted()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "not run"),
        (CellStatus("waiting"), "not run"),
        (CellStatus("training", 300, 1000), "training, update 300 of 1000"),
        (CellStatus("evaluating", 1000, 1000), "evaluating"),
        (CellStatus("interrupted", 300, 1000), "interrupted at update 300"),
    ],
)
def test_status_in_words(status, text):
    assert status_text(status) == text


@pytest.mark.parametrize("dataset", ["digits", "folder:my/birds", "x" * 300])
def test_a_training_whose_owner_is_gone_is_interrupted(tmp_path, dataset):
    cell = CellFolder(tmp_path, dataset, "ebm", 3)
    for state in ("training", "evaluating"):
        cell.write_status(CellStatus(state, 5, 10))
        (found,) = CellFolder.all_in(tmp_path)  # as one who looks at the folder alone sees it
        with cell.held():
            assert found.live_status().state == state
        assert found.live_status().state == "interrupted"
        assert found.live_status().update == 5


@pytest.fixture
def results(tmp_path) -> Path:
    """One cell in each of five conditions."""
    tmp_path = tmp_path / "run"
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0, kid=0.0123), pictures=False)
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 10, diverged_at=812), pictures=False)
    trained = CellFolder(tmp_path, "digits", "ebm", 2)
    trained.write_status(CellStatus("training", 300, 1000, 12.5, 56.0, {"gap": 0.25}))
    CellFolder(tmp_path, "digits", "vae", 0).path.mkdir(parents=True)
    damaged = CellFolder(tmp_path, "digits", "vae", 1)
    damaged.path.mkdir()
    damaged.record_path.write_text("{")
    return tmp_path


def test_every_cell_is_in_the_table(results):
    with CellFolder(results, "digits", "ebm", 2).held():
        found = {(line.model, line.seed): line for line in lines(results)}
    assert list(found) == [("ebm", "0"), ("ebm", "2"), ("ebm", "10"), ("vae", "0"), ("vae", "1")]  # seeds as numbers
    assert [line.state for line in found.values()] == [
        "finished",
        "training",
        "diverged",
        "not run",
        "unreadable record",
    ]
    assert found["ebm", "0"].last == "KID(efficientnet-lite0) 0.0123"
    assert found["ebm", "0"].update == "700 of 700"
    training = found["ebm", "2"]
    assert (training.update, training.rate, training.left) == ("300 of 1000", "12.5", "56 s")
    assert training.last == "gap 0.25"
    assert "812" in found["ebm", "10"].last
    assert lines(results)[1].state == "interrupted"  # the lock is free now
    assert lines(results)[1].rate == ""


def test_the_table_is_aligned_and_counts(results, capsys):
    assert main([str(results)]) == 0
    shown = capsys.readouterr().out.splitlines()
    starts = [
        line.index(word) for line, word in zip(shown, ["state", "finished", "interrupted", "diverged"], strict=False)
    ]
    assert len(set(starts)) == 1
    assert shown[-1] == "5 cells: 1 finished, 1 interrupted, 1 diverged, 1 not run, 1 unreadable record"
    assert not shown[0].startswith("folder")  # all cells are in one results folder


def test_several_results_folders_in_one(results, capsys):
    assert main([str(results.parent)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("folder")
    assert [line.split()[0] for line in out.splitlines()[1:6]] == ["run"] * 5


def test_nothing_in_a_file_steers_the_terminal(tmp_path):
    CellFolder(tmp_path, "digits", "ebm", 0).write_status(CellStatus("training", message="\x1b[2Jgone\nnew line"))
    shown = table(lines(tmp_path))
    assert "\x1b" not in shown
    assert "?[2Jgone new line" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere"], "no results folder"), (["."], "no results folder"), ([".", "--watch", "0"], "--watch 0")],
)
def test_bad_arguments_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench.status: ")
    assert words in line


def test_watching_goes_on_until_interrupted(results, monkeypatch, capsys):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    assert main([str(results), "--watch", "2"]) == 0
    assert pauses == [2, 2, 2]
    assert capsys.readouterr().out.count("5 cells") == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3569, "59 min"),
        (3599, "1 h 00 min"),
        (11100, "3 h 05 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_watching_needs_no_torch():
    code = "import sys, bench.status; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
