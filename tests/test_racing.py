"""Races: the arithmetic of time to quality, whose turn it is, and stops that leave no trace."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
from itertools import cycle

import pytest

from bench import race as command
from bench.config.settings import load_profile
from bench.errors import UserError
from bench.grid.request import Request
from bench.machine import signals
from bench.racing import output, race, runner
from bench.racing.lanes import Race
from bench.racing.turns import Rules
from bench.scoring.setup import Setup
from bench.storage.checkpoint import load_checkpoint
from tests import timed

EXTRACTOR = "tests.faults.own_extractor:Projection"


# The race

CONTESTANTS = ("tests.timed:Trainer", "tests.timed:Slow")


@pytest.fixture
def raced(tmp_path, monkeypatch):
    """Run a race of toys under their clock; what its yardstick saw is in `raced.taken`."""
    timed.Clock.now = 0.0

    def go(name, models=CONTESTANTS, seeds=(0, 1), **changes):
        rules = Rules(**{"seconds": 60.0, "slice": 10.0, "points": 3} | changes)
        profile = load_profile("smoke")
        setup = Setup("cpu", 1, EXTRACTOR, None, None, progress=False)
        request = Request(setup, profile, {}, ("digits",), models, seeds, (0,), tmp_path / name, "")
        return race.run(request, rules, clock=timed.Clock())

    original = race.prepared

    def prepared(request, cell):
        return original(request, cell)[0], go.yardstick

    go.yardstick = timed.Yardstick()
    monkeypatch.setattr(race, "prepared", prepared)
    return go


def test_a_race_counts_training_alone_and_ends_with_the_planned_updates(raced, tmp_path):
    """Updates of 1 and 2 s, the first one 10 and 20 s: 60 and 30 updates, 69 and 78 s. Scores take 1000 s each."""
    found = raced("race")
    assert found.seconds_per_update == {"Trainer": 1.0, "Slow": 2.0}
    ends = {(lane.contestant, lane.seed): (lane.status, lane.updates, lane.seconds) for lane in found.lanes}
    fast, slow = ("finished", 60, 69.0), ("finished", 30, 78.0)
    assert ends == {(name, s): end for s in (0, 1) for name, end in (("Trainer", fast), ("Slow", slow))}
    for lane in found.lanes:
        assert [point.score for point in lane.points] == [8 / point.updates for point in lane.points]
        assert lane.points[-1].updates == lane.planned == lane.updates
    # marks after 0.94, 7.5 and 60 s; one update passes the first two
    assert [point.seconds for point in found.of("Trainer")[0].points] == [10.0, 60.0, 69.0]
    rows = list(csv.DictReader((tmp_path / "race" / output.CSV).open()))
    assert len(rows) == sum(len(lane.points) for lane in found.lanes)
    for name in (output.TABLE, output.PLOT, "race.json"):
        assert (tmp_path / "race" / name).exists()
    folder = tmp_path / "race" / "cells" / "digits" / "Slow" / "seed-1"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "log.csv"}
    state, description = load_checkpoint(folder / "model.safetensors")
    assert (state["scale"].item(), description["config"]["model"]["updates"]) == (30, 30)


def test_contestants_take_turns(raced, monkeypatch):
    """A B A B: at no moment is one more than a slice, or an update, ahead of another that still races."""
    turns = []
    turn = runner.Runner.turn

    def watched(self, target):
        result = turn(self, target)
        turns.append((self.lane.seed, self.lane.contestant, self.lane.seconds))
        return result

    monkeypatch.setattr(runner.Runner, "turn", watched)
    raced("race")
    assert [name for seed, name, _ in turns if seed == 0][:6] == ["Trainer", "Slow"] * 3
    assert [seed for seed, *_ in turns] == sorted(seed for seed, *_ in turns)  # a seed at a time
    seconds = dict.fromkeys(("Trainer", "Slow"), 0.0)
    for seed, name, now in turns:
        if seed == 0:
            assert now - seconds[name] <= 20.0  # the first update of Slow
            seconds[name] = now


class StoppedError(Exception):
    """A kill, as far as the files are concerned."""


def test_a_race_that_is_killed_anywhere_ends_as_one_that_is_not(raced, tmp_path, monkeypatch):
    """Killed again and again, a few steps further each time: before a state, a score or the race's file is written."""
    whole = raced("whole", seeds=(0,))
    steps = [(runner.RunState, "save"), (timed.Yardstick, "score"), (Race, "write"), (runner, "save_checkpoint")]
    left, killed_before = [0], []

    def mortal(name, action):
        def wrapped(*given):
            left[0] -= 1
            if left[0] == 0:
                killed_before.append(name)
                raise StoppedError
            return action(*given)

        return wrapped

    with monkeypatch.context() as patch:
        for place, name in steps:
            patch.setattr(place, name, mortal(name, getattr(place, name)))
        for lives in cycle((2, 4, 7, 3, 5, 8)):
            left[0] = lives
            with contextlib.suppress(StoppedError):
                again = raced("pieces", seeds=(0,))
                break
    assert len(killed_before) >= 5
    assert len(set(killed_before)) >= 3
    assert again.lanes == whole.lanes
    texts = [(tmp_path / name / output.TABLE).read_text() for name in ("whole", "pieces")]
    assert texts[0] == texts[1]


def test_a_signal_ends_the_turn_after_the_update_with_all_of_it_kept(raced, monkeypatch):
    whole = raced("whole", seeds=(0,))
    step = timed.Trainer.step

    def signalled(self, images, generator):
        if int(self.model.scale) == 4 and self.config.updates == 60:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, images, generator)

    with monkeypatch.context() as patch, signals.handled():
        patch.setattr(timed.Trainer, "step", signalled)
        with pytest.raises(signals.Interrupted):
            raced("pieces", seeds=(0,))
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(
            timed.Trainer, "step", lambda self, *given: seen.append(self.config.updates) or step(self, *given)
        )
        assert raced("pieces", seeds=(0,)).lanes == whole.lanes
    assert seen.count(60) == 55  # five updates had been made and kept, none is made again


def test_a_race_that_ended_trains_nothing_and_may_get_more_seeds(raced, monkeypatch):
    raced("race", seeds=(0,))
    with monkeypatch.context() as patch:
        patch.setattr(timed.Trainer, "step", lambda *_: pytest.fail("trained again"))
        assert [lane.seed for lane in raced("race", seeds=(0,)).lanes] == [0, 0]
    assert [lane.seed for lane in raced("race", seeds=(0, 3)).lanes] == [0, 0, 3, 3]


def test_one_that_diverges_leaves_the_race_with_its_reason(raced):
    found = raced("race", models=("tests.timed:Failing", "tests.timed:Slow"), seeds=(0,))
    failed, other = found.lanes
    assert (failed.status, failed.updates, other.status) == ("diverged", 11, "finished")
    assert failed.message == "the toy diverged, at update 12"
    assert [point.updates for point in failed.points] == [1]


def test_another_race_or_a_damaged_file_is_refused(raced, tmp_path):
    raced("race", seeds=(0,))
    with pytest.raises(UserError, match=r"holds another race \(slice is 10.0 there and 5.0 here\)"):
        raced("race", seeds=(0,), slice=5.0)
    path = tmp_path / "race" / "race.json"
    for content in ("", "[]", json.dumps({**json.loads(path.read_text()), "schema": 7}), '{"schema": 1, "lanes": [1]}'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"race\.json is damaged .* choose another --out"):
            raced("race", seeds=(0,))


# The command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--slice", "400"], "race.slice=400.0 is out of range: it must be above 0 and at most the race, 300"),
        (["--seconds", "-1"], "race.seconds=-1.0 is out of range"),
        (["--points", "1"], "at least 2"),
        (["--reach", "nan"], "--reach nan is no score"),
        (["--base", "flow"], "--base 'flow' does not race: choose one of vae, published"),
        (["--models", "vae", "vae"], "name each once"),
    ],
)
def test_what_is_refused_is_one_line(tmp_path, capsys, arguments, words):
    given = ["--profile", "smoke", "--quiet", "--models", "vae", "published", "--out", str(tmp_path / "out")]
    assert command.main([*given, "--features", EXTRACTOR, *arguments]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_the_command_from_start_to_finish(tmp_path, capsys):
    given = ["--profile", "smoke", "--quiet", "--models", "vae", "published", "--seeds", "0", "--seconds", "0.3"]
    given += ["--slice", "0.1", "--points", "3", "--features", EXTRACTOR, "--out", str(tmp_path)]
    assert command.main(given) == 0
    printed = capsys.readouterr().out
    assert "| published" in printed
    race_file = (tmp_path / "race.json").read_bytes()
    assert command.main([*given, "--base", "published"]) == 0  # the table again, and no training
    assert (tmp_path / "race.json").read_bytes() == race_file
