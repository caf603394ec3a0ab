"""Statistics over seeds: against SciPy, worked examples, and their error rates on Gaussians."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from bench.report.content.statistics import holm, permutation_test, t_interval, variance_parts, welch, winner, winners

TRIALS = 2000


def gaussians(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


# Intervals


def test_the_interval_is_scipys():
    x = [3.0, 4.5, 7.25, 1.0]
    expected = scipy.stats.t.interval(0.9, df=3, loc=np.mean(x), scale=scipy.stats.sem(x))
    assert t_interval(x, 0.9) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_95_percent_intervals_cover_the_mean_92_to_98_percent_of_the_time(seeds):
    low, high = t_interval(7 + 3 * gaussians(TRIALS, seeds, seed=seeds))
    assert 0.92 <= np.mean((low <= 7) & (high >= 7)) <= 0.98


def test_the_interval_of_values_that_do_not_vary_is_a_point():
    assert t_interval([2.5, 2.5, 2.5]) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("values", "confidence", "message"),
    [([1.0], 0.95, "1 values: 2"), ([], 0.95, "0 values"), ([1, float("nan")], 0.95, "finite"), ([1, 2], 95, "95")],
)
def test_intervals_of_too_little_are_refused(values, confidence, message):
    with pytest.raises(ValueError, match=message):
        t_interval(values, confidence)


# Tests


def test_welch_is_scipys():
    a, b = gaussians(50, 3, seed=1), 2 * gaussians(50, 5, seed=2) + 1
    expected = scipy.stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue
    np.testing.assert_allclose(welch(a, b), expected, rtol=1e-9)
    assert isinstance(welch(a[0], b[0]), float)


def test_welch_of_samples_that_do_not_vary():
    assert welch([1, 1, 1], [1, 1]) == 1
    assert welch([1, 1, 1], [2, 2]) == 0
    assert 0 < welch([1, 1, 1], [2, 2, 2.5]) < 1


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 6)])
def test_the_exact_permutation_test_is_scipys(n, m):
    a, b = gaussians(n, seed=n), gaussians(m, seed=m + 10) + 0.7
    exact = scipy.stats.permutation_test(
        (a, b), lambda x, y: abs(np.mean(x) - np.mean(y)), n_resamples=np.inf, alternative="greater"
    )
    assert permutation_test(a, b) == pytest.approx(exact.pvalue, rel=1e-12)
    assert permutation_test(a, b) == permutation_test(b, a)


def test_the_least_p_value_of_three_against_three_is_a_tenth():
    assert permutation_test([1, 2, 3], [11, 12, 13]) == pytest.approx(0.1)
    assert permutation_test([1, 2, 3, 4], [11, 12, 13, 14]) == pytest.approx(2 / 70)
    assert permutation_test([1, 1, 1], [1, 1, 1]) == 1
    assert permutation_test([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]) == 1  # equal but for rounding


def test_large_samples_are_permuted_at_random_but_equally():
    a, b = gaussians(40, seed=1), gaussians(40, seed=2) + 0.5
    p = permutation_test(a, b, seed=5)
    assert p == permutation_test(a, b, seed=5)
    assert p == pytest.approx(scipy.stats.ttest_ind(a, b).pvalue, abs=0.01)
    assert permutation_test(a, a + 50) == pytest.approx(1 / 10_000)


def test_holm_is_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.2, 1.2])


# Parts of the variance


def test_parts_of_the_variance_are_those_that_were_put_in():
    training, sampling = 4.0, 1.0
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        scores = 10 + 2 * rng.standard_normal((5, 1)) + rng.standard_normal((5, 3))
        found.append(variance_parts(scores.tolist()))
    assert np.mean([p.training for p in found]) == pytest.approx(training, rel=0.1)
    assert np.mean([p.sampling for p in found]) == pytest.approx(sampling, rel=0.1)
    assert all(p.total == pytest.approx(p.training + p.sampling) for p in found)
    assert np.median([p.share for p in found]) == pytest.approx(0.2, abs=0.05)


def test_parts_of_the_variance_by_hand():
    parts = variance_parts([[1.0, 2.0], [3.0, 4.0]])  # within 0.5; means 1.5 and 3.5, variance 2
    assert (parts.sampling, parts.training) == (pytest.approx(0.5), pytest.approx(2 - 0.25))
    assert parts.share == pytest.approx(0.5 / 2.25)
    same = variance_parts([[1.0, 3.0], [3.0, 1.0]])  # means agree better than sampling explains
    assert (same.training, same.share) == (0, 1)
    assert variance_parts([[1.0, 1.0], [1.0, 1.0]]).share == 0


@pytest.mark.parametrize(
    ("scores", "message"), [([[1, 2]], "1 training seed"), ([[1], [2]], "1 values"), ([[1, 2], [3]], "one length")]
)
def test_parts_of_too_little_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        variance_parts(scores)


# Winners


def test_the_winner_has_the_best_mean_in_the_direction_asked_for():
    rows = {"a": [1.0, 2.0, 3.0], "b": [10.0, 11.0, 12.0], "c": [5.0, 6.0, 7.5]}
    best, p_values = winner(rows, "lower")
    assert (best, set(p_values)) == ("a", {"b", "c"})
    assert p_values["b"] == pytest.approx(welch(rows["a"], rows["b"]))
    assert winner(rows, "higher")[0] == "b"
    with pytest.raises(ValueError, match="'none'"):
        winner(rows, "none")
    with pytest.raises(ValueError, match="without rows"):
        winner({}, "lower")


def test_a_column_has_a_winner_where_every_other_row_is_worse_beyond_chance():
    far, near = {"a": [1.0, 1.1, 1.2], "b": [9.0, 9.1, 9.2]}, {"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}
    third = {**far, "c": [1.05, 1.15, 1.25]}  # as good as the best
    found = winners({"FD": ("lower", far), "IS": ("higher", far), "KID": ("lower", near), "MSE": ("lower", third)})
    assert found.best == {"FD": "a", "IS": "b", "KID": None, "MSE": None}
    assert found.comparisons == 1 + 1 + 1 + 2
    assert found.p_values["MSE"]["b"] < 0.05 < found.p_values["MSE"]["c"]
    assert found.untested == {}
    assert found.test == "Welch's t-test, Holm-corrected"


def test_the_correction_is_over_the_whole_table():
    column = ("lower", {"a": [1.0, 1.1, 1.2], "b": [1.3, 1.5, 1.6]})
    alone = winners({"x": column})
    assert alone.best == {"x": "a"}
    table = winners({str(i): column for i in range(10)})
    assert set(table.best.values()) == {None}
    assert table.p_values["0"]["b"] == pytest.approx(min(1, 10 * alone.p_values["x"]["b"]))


def test_what_cannot_be_tested_says_why_and_counts_as_no_comparison():
    three, two = [1.0, 1.1, 1.2], [9.0, 9.1]
    found = winners(
        {
            "FD": ("lower", {"a": three, "b": two}),
            "copying": ("none", {"a": three, "b": [5.0, 6.0, 7.0]}),
            "IS": ("higher", {"a": three}),
        }
    )
    assert found.best == {"FD": None, "copying": None, "IS": None}
    assert found.untested == {"FD": "fewer than three seeds", "copying": "not ranked", "IS": "fewer than two rows"}
    assert found.comparisons == 0
    assert winners({}).best == {}


@pytest.mark.parametrize("seeds", [3, 5])
def test_two_equal_models_are_called_different_in_at_most_7_percent_of_trials(seeds):
    draws = gaussians(TRIALS, 2, seeds, seed=seeds)
    called = [winners({"FD": ("lower", {"a": a, "b": b})}).best["FD"] is not None for a, b in draws.tolist()]
    assert 0.01 <= np.mean(called) <= 0.07  # a test that never calls anything different would pass as well


def test_a_table_of_equal_models_has_any_winner_in_at_most_7_percent_of_trials():
    draws = gaussians(500, 6, 3, 3, seed=0)
    wrong = 0
    for columns in draws.tolist():
        table = {str(i): ("lower", dict(zip("abc", rows, strict=True))) for i, rows in enumerate(columns)}
        wrong += any(winners(table).best.values())
    assert wrong / len(draws) <= 0.07


def test_models_that_differ_are_called_different():
    draws = gaussians(200, 2, 3, seed=4)
    draws[:, 0] += 8
    called = [winners({"FD": ("lower", {"a": a, "b": b})}).best["FD"] for a, b in draws.tolist()]
    assert np.mean([name == "b" for name in called]) > 0.95


def test_statistics_do_not_need_torch():
    code = "import sys, bench.report.content.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
