"""Statistics over seeds: against SciPy, worked examples, and their error rates on Gaussians."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats

from bench.report.content.statistics import (
    effect,
    holm,
    lead_first,
    t_interval,
    welch,
    winner,
    winners,
)
from tests.simulations.winners import COLUMNS, decided, false_winners, found_leads

TRIALS = 2000


def gaussians(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


# Intervals


def test_the_interval_is_scipys():
    x = [3.0, 4.5, 7.25, 1.0]
    expected = scipy.stats.t.interval(0.95, df=3, loc=np.mean(x), scale=scipy.stats.sem(x))
    assert t_interval(x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_95_percent_intervals_cover_the_mean_92_to_98_percent_of_the_time(seeds):
    low, high = t_interval(7 + 3 * gaussians(TRIALS, seeds, seed=seeds))
    assert 0.92 <= np.mean((low <= 7) & (high >= 7)) <= 0.98


def test_the_interval_of_values_that_do_not_vary_is_a_point():
    assert t_interval([2.5, 2.5, 2.5]) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("values", "message"), [([1.0], "1 values: 2"), ([], "0 values"), ([1, float("nan")], "finite")]
)
def test_intervals_of_too_little_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        t_interval(values)


# Tests


def test_the_difference_of_means_has_welchs_interval():
    a, b = gaussians(3, seed=1), 2 * gaussians(5, seed=2) + 1
    found = effect(a, b)
    of_a, of_b = a.var(ddof=1) / 3, b.var(ddof=1) / 5
    freedom = (of_a + of_b) ** 2 / (of_a**2 / 2 + of_b**2 / 4)
    half = scipy.stats.t.ppf(0.975, freedom) * (of_a + of_b) ** 0.5
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), rel=1e-9)
    assert (found.low < 0 < found.high) == (welch(a, b) > 0.05)
    for shift in (0.0, 0.5, 3.0):
        x, y = gaussians(5, seed=3) + shift, 2 * gaussians(7, seed=4)
        assert (effect(x, y).low <= 0 <= effect(x, y).high) == (welch(x, y) > 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert effect([1.0, 1.0, 1.0], [0.5, 0.7, 0.6]).difference == pytest.approx(0.4)
    same = effect([1, 1, 1], [3, 3])
    assert (same.difference, same.low, same.high) == (-2, -2, -2)


def test_welch_is_the_worked_formula():
    a, b = gaussians(50, 3, seed=1), 2 * gaussians(50, 5, seed=2) + 1
    of_a, of_b = a.var(1, ddof=1) / 3, b.var(1, ddof=1) / 5
    freedom = (of_a + of_b) ** 2 / (of_a**2 / 2 + of_b**2 / 4)  # Satterthwaite's
    t = (a.mean(1) - b.mean(1)) / np.sqrt(of_a + of_b)
    np.testing.assert_allclose(welch(a, b), 2 * scipy.stats.t.sf(np.abs(t), freedom), rtol=1e-9)
    assert isinstance(welch(a[0], b[0]), float)


def test_welch_of_samples_that_do_not_vary():
    assert welch([1, 1, 1], [1, 1]) == 1
    assert welch([1, 1, 1], [2, 2]) == 0
    assert 0 < welch([1, 1, 1], [2, 2, 2.5]) < 1


def test_holm_is_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1, 1]
    assert holm([]).shape == (0,)
    many = np.array([[0.01, 0.04, 0.03, 0.005], [0.6, 0.9, 0.5, 1.0]])
    np.testing.assert_array_equal(holm(many), [holm(row) for row in many])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.2, 1.2])


def test_others_follow_the_lead():
    assert lead_first(0.01, [0.02, 0.001, 0.6]) == pytest.approx([0.04, 0.01, 0.6])  # Holm: 0.04, 0.003, 0.6
    assert lead_first(0.2, [0.02, 0.001, 0.6]) == pytest.approx([0.2, 0.2, 0.6])
    assert lead_first(0.2, []).shape == (0,)


# Winners


def test_the_winner_has_the_best_mean_in_the_direction_asked_for():
    rows = {"a": [1.0, 2.0, 3.0], "b": [10.0, 11.0, 12.0], "c": [5.0, 6.0, 7.5]}
    best, p_values = winner(rows, "lower")
    assert (best, set(p_values)) == ("a", {"b", "c"})
    assert p_values["b"] == pytest.approx(welch(rows["a"], rows["b"]))
    assert winner(rows, "higher")[0] == "b"
    with pytest.raises(ValueError, match="1 values"):
        winner(rows | {"d": [0.5]}, "lower")


FAR, NEAR = {"a": [1.0, 1.1, 1.2], "b": [9.0, 9.1, 9.2]}, {"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}


def test_a_column_has_a_winner_where_every_other_row_is_worse_beyond_chance():
    third = {**FAR, "c": [1.05, 1.15, 1.25]}  # as good as the best
    found = winners({"FD": ("lower", FAR), "IS": ("higher", FAR), "KID": ("lower", NEAR), "MSE": ("lower", third)})
    assert found.best == {"FD": "a", "IS": "b"}
    assert found.comparisons == 4
    assert found.p_values["MSE"]["b"] < 0.05 < found.p_values["MSE"]["c"]
    assert found.decisive["MSE"] >= found.p_values["MSE"]["c"]
    assert found.untested == {}
    assert found.test == "Welch's t-test against each other model, Holm-corrected"


def test_the_correction_is_over_the_columns_and_not_over_the_rows():
    column = ("lower", {"a": [1.0, 1.1, 1.2], "b": [1.3, 1.5, 1.6]})
    alone = winners({"x": column})
    assert alone.best == {"x": "a"}
    table = winners({str(i): column for i in range(10)})
    assert table.best == {}
    assert table.decisive["0"] == pytest.approx(min(1, 10 * alone.decisive["x"]))
    assert alone.decisive["x"] == alone.p_values["x"]["b"] == welch(column[1]["a"], column[1]["b"])
    rows = winners({"x": ("lower", column[1] | {"c": [1.4, 1.5, 1.6], "d": [9.0, 9.1, 9.2]})})
    assert rows.decisive["x"] == max(rows.p_values["x"].values()) == alone.decisive["x"]


def test_the_lead_is_tested_first_and_opens_the_others():
    others = {str(i): ("lower", FAR) for i in range(9)}
    clear = ("lower", {"a": [1.0, 1.1, 1.2], "b": [1.3, 1.5, 1.6]})  # p = 0.03: too much for Holm over ten columns
    found = winners({**others, "KID": clear}, lead="KID")
    assert found.best == {**dict.fromkeys(others, "a"), "KID": "a"}
    assert found.decisive["0"] == found.decisive["KID"] == found.p_values["KID"]["b"]
    assert "the lead score first" in found.test
    shut = winners({**others, "KID": ("lower", NEAR)}, lead="KID")
    assert shut.best == {}
    assert shut.decisive["0"] == shut.decisive["KID"] > 0.05
    untestable = winners({**others, "KID": ("lower", {"a": [1.0, 1.1], "b": [2.0, 2.1]})}, lead="KID")
    assert untestable.best == dict.fromkeys(others, "a")
    assert untestable.test == "Welch's t-test against each other model, Holm-corrected"


def test_what_cannot_be_tested_says_why_and_counts_as_no_comparison():
    three, two = [1.0, 1.1, 1.2], [9.0, 9.1]
    found = winners(
        {
            "FD": ("lower", {"a": three, "b": two}),
            "memorization": ("none", {"a": three, "b": [5.0, 6.0, 7.0]}),
            "IS": ("higher", {"a": three}),
        }
    )
    assert found.best == {}
    assert found.untested == {"FD": "fewer than three seeds", "memorization": "not ranked", "IS": "fewer than two rows"}
    assert found.comparisons == 0
    assert winners({}).best == {}


# Error and power of the whole procedure, many tables at once


def test_many_tables_at_once_are_decided_as_one_is():
    draws = gaussians(20, 4, 3, 5, seed=0)
    draws[:, :, 0] -= 3
    p, best = decided(draws)
    for trial, columns in enumerate(draws.tolist()):
        table = {str(i): ("lower", dict(zip("abc", rows, strict=True))) for i, rows in enumerate(columns)}
        found = winners(table, lead="0")
        assert [found.decisive[str(i)] for i in range(4)] == pytest.approx(p[trial])
        names = ["abc"[index] if own <= 0.05 else None for index, own in zip(best[trial], p[trial], strict=True)]
        assert [found.best.get(str(i)) for i in range(4)] == names
    assert 0 < np.mean(p <= 0.05) < 1


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("models", [2, 3, 6])
def test_a_false_winner_anywhere_in_a_table_is_named_in_at_most_5_percent_of_tables(models, seeds):
    errors = false_winners(gaussians(4000, COLUMNS, models, seeds, seed=models))
    assert errors.pop("one of them with 100 times the variance") <= 0.065  # Welch's degrees of freedom are approximate
    assert errors.pop("one of them with 4 times the variance") <= 0.055
    assert max(errors.values()) <= 0.05, errors
    assert errors["two equal best models"] >= 0.025  # a test that never names a winner would pass as well


@pytest.mark.parametrize(
    ("models", "seeds", "lead", "others"), [(3, 3, 0.8, 0), (6, 3, 0.6, 0), (3, 5, 0.95, 0.9), (6, 5, 0.95, 0.8)]
)
def test_a_lead_of_four_deviations_is_found(models, seeds, lead, others):
    found = found_leads(gaussians(4000, COLUMNS, models, seeds, seed=10 * models))
    assert found["found in the lead score"] >= lead
    assert found["found in the others, all of which have it"] >= others
    assert found["found in the others, six of which have it"] >= others


def test_statistics_do_not_need_torch():
    code = "import sys, bench.report.content.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
