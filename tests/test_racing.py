"""Races: the arithmetic of time to quality, whose turn it is, and stops that leave no trace."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import signal
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import race as command
from bench.config.settings import load_profile
from bench.errors import UserError
from bench.grid.request import Request
from bench.machine import signals
from bench.racing import output, race
from bench.racing.lanes import Lane, Point, Race
from bench.racing.reach import Between, levels, over_seeds, ratio, time_to_reach
from bench.racing.turns import Rules
from bench.scoring.setup import Setup
from bench.storage.checkpoint import load_checkpoint
from tests import timed

EXTRACTOR = "tests.faults.own_extractor:Projection"


def points(*pairs):
    return [Point(i + 1, seconds, score) for i, (seconds, score) in enumerate(pairs)]


# Time to reach a score


@given(power=st.floats(0.2, 3), share=st.floats(0.01, 0.99))
def test_between_points_a_power_of_time_is_exact(power, share):
    curve = points(*((t, 5 * t**-power) for t in (1.0, 4.0, 30.0)))
    at = 1.0 ** (1 - share) * 30.0**share
    found = time_to_reach(curve, 5 * at**-power)
    assert found.exact
    assert found.low == pytest.approx(at, rel=1e-9)


def test_the_first_crossing_counts():
    curve = points((1, 8.0), (2, 4.0), (4, 16.0), (8, 1.0))
    assert time_to_reach(curve, 4.0) == Between(2, 2)
    assert time_to_reach(curve, 8.0) == Between(1, 1)  # exactly at the first point
    assert time_to_reach(curve, 9.0) == Between(0.0, 1)  # before it: only a bound
    assert time_to_reach(curve, 2.0).low == pytest.approx(4 * 2 ** (3 / 4))  # three of the four halvings from 16 to 1
    assert time_to_reach(curve, 0.5) == Between(8, math.inf)  # not in the race
    assert time_to_reach([], 0.5) == Between(0.0, math.inf)


def test_a_score_below_zero_is_met_on_a_straight_line():
    """An unbiased KID may be negative, and has no logarithm: half of the way from 0.3 to -0.1 is 0.1."""
    assert time_to_reach(points((1, 0.3), (4, -0.1)), 0.1).low == pytest.approx(2.0)


def test_ratios_keep_their_bounds():
    assert ratio(Between(6, 6), Between(2, 2)) == Between(3, 3)
    assert ratio(Between(6, math.inf), Between(2, 2)) == Between(3, math.inf)  # not reached: at least three times
    assert ratio(Between(6, 6), Between(2, math.inf)) == Between(0, 3)
    assert ratio(Between(6, 6), Between(0, 2)) == Between(3, math.inf)
    assert ratio(Between(0, 6), Between(2, 2)) == Between(0, 3)


def test_seeds_have_a_geometric_mean_and_its_interval():
    found = over_seeds([Between(2, 2), Between(8, 8)])
    assert found.mean == pytest.approx(4)
    half = 12.706204736 * math.log(2)  # t of one degree of freedom, times the standard error of two logarithms
    assert found.interval == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))
    assert over_seeds([Between(3, 3)]).interval is None
    open_ended = over_seeds([Between(3, 3), Between(5, math.inf)])
    assert (open_ended.mean, open_ended.bounds) == (None, Between(3, math.inf))


def test_levels_are_round_and_within_what_was_seen():
    assert levels([0.34, 0.012, -0.1]) == [0.2, 0.1, 0.05, 0.02]
    assert levels([700.0, 3.0]) == [200.0, 100.0, 50.0, 20.0, 10.0, 5.0]
    assert levels([-1.0]) == levels([]) == []


# The table


def two(base_times=(1.0, 2.0), other_times=(3.0, 12.0), status="finished"):
    """Two contestants with two seeds that halve their score from 8 with every point; `slow` ends at 1, `fast` at 2."""
    lanes = []
    for name, times, last in (("fast", base_times, 3), ("slow", other_times, 4)):
        for seed, unit in enumerate(times):
            curve = points(*((unit * 2**k, 8.0 / 2**k) for k in range(last)))
            lanes.append(Lane(name, seed, last, status, "", last, curve[-1].seconds, curve))
    settings = {"dataset": "digits", "seconds": 100.0, "slice": 10.0}
    return Race(settings, {}, "", "KID(toy)", 0.01, {"fast": 1.0, "slow": 2.0}, lanes)


def table_rows(text):
    """Cells of the rows of each table of a Markdown file."""
    tables = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            tables.append([[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()])
    return tables


def test_the_table_divides_seed_by_seed():
    ends, times, ratios = table_rows(output.text(two(), (4.0, 1.0), "fast"))
    assert [row[0] for row in ends[2:]] == ["fast", "slow"]
    assert times[0] == ["contestant", "≤ 4.00", "≤ 1.00"]
    assert times[2][1].startswith("2.83 ")  # the geometric mean of 2 and 4
    assert times[2][2] == "not reached"
    assert times[3][1].startswith("12.0 ")  # of 6 and 24
    # 3 and 6 times as long: 4.24; fast was below 1 in neither race
    assert [row[0] for row in ratios[2:]] == ["slow"]
    assert ratios[2][1].startswith("4.24 ")
    assert ratios[2][2] == "≤ 12.0"  # 24 s and 96 s, against more than 4 s and 8 s
    inverse = table_rows(output.text(two(), (4.0, 1.0), "slow"))[2]
    assert inverse[2][1].startswith("0.236 ")
    assert inverse[2][2] == "\\> 0.0833"


def test_seeds_that_reach_it_are_counted():
    found = two()
    found.lanes[1].points.pop()
    assert table_rows(output.text(found, (2.0,), ""))[1][2][1] == "1 of 2 seeds"


def test_a_base_that_does_not_race_is_refused():
    with pytest.raises(UserError, match=r"--base 'vae' does not race: choose one of fast, slow"):
        output.text(two(), (), "vae")


def test_the_plot_has_two_logarithmic_axes(tmp_path, monkeypatch):
    figures = []
    save = output.style.save
    monkeypatch.setattr(output.style, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    output.plot(tmp_path, two(status="diverged"))
    (axes,) = figures[0].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    labels = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert labels[:2] == ["fast (2 diverged)", "slow (2 diverged)"]
    assert (tmp_path / output.PLOT).stat().st_size > 1000


# Turns


def test_turns_end_at_the_slices_and_at_the_marks():
    rules = Rules(seconds=64.0, slice=16.0, points=4)
    assert rules.marks == pytest.approx([1.0, 4.0, 16.0, 64.0])
    assert list(islice(rules.targets(), 7)) == pytest.approx([1, 4, 16, 32, 48, 64, 80])
    assert [rules.due(s, scored) for s, scored in ((0.9, 0), (1.1, 0), (3.9, 1.1), (4.0, 1.1), (70, 65))] == [
        False,
        True,
        False,
        True,
        False,
    ]


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
    turn = race.Runner.turn

    def watched(self, target):
        result = turn(self, target)
        turns.append((self.lane.seed, self.lane.contestant, self.lane.seconds))
        return result

    monkeypatch.setattr(race.Runner, "turn", watched)
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
    steps = [(race.RunState, "save"), (timed.Yardstick, "score"), (Race, "write"), (race, "save_checkpoint")]
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
