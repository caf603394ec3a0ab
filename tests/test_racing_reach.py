"""Time to reach a score, the table and plot of a race, and the turns that contestants take."""

from __future__ import annotations

import math
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.racing import output
from bench.racing.lanes import Lane, Point, Race
from bench.racing.reach import Between, levels, over_seeds, ratio, time_to_reach
from bench.racing.turns import Rules


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
    settings = {"dataset": "digits", "seconds": 100.0, "slice": 10.0, "machine": {"jobs": 1}}
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
