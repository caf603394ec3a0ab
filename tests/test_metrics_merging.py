"""How the entries of several evaluation seeds become one, and what its interval is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.contract.scores import Score
from bench.errors import UserError
from bench.metrics import FeatureSets, merge, score
from tests.feature_sets import StubExtractor, random_features


def rows_of(real, generated, *, seed):
    return score(FeatureSets(real, generated), StubExtractor(), seed=seed)


def merged(**changes):
    """Two evaluation seeds, of which the second has `changes` in its last entry."""
    first = rows_of(random_features(60, seed=1), random_features(50, seed=2), seed=0)
    second = rows_of(random_features(60, seed=1), random_features(50, seed=3), seed=1)
    second[-1] = replace(second[-1], **changes)
    return first, second, merge([first, second])


def test_evaluation_seeds_are_averaged_and_kept():
    first, second, rows = merged()
    assert [r.name for r in rows] == [r.name for r in first]
    for a, b, row in zip(first, second, rows, strict=True):
        assert row.per_seed == (a.value, b.value)
        assert row.value == pytest.approx((a.value + b.value) / 2)
        low, high = (
            row.value + side * sum((one.value - one.interval[end]) ** 2 for one in (a, b)) ** 0.5 / 2
            for end, side in ((0, -1), (1, 1))
        )
        assert row.interval == pytest.approx((low, high))
        assert row.spread == (None if a.spread is None else pytest.approx((a.spread + b.spread) / 2))
        rest = {"value": 0.0, "spread": None, "per_seed": (), "interval": None}
        assert replace(row, **rest) == replace(a, **rest)
        assert a.per_seed == ()


def test_the_interval_of_a_mean_over_evaluation_seeds_is_around_it():
    one = Score("KID", "KID", "samples", 2.0, "lower", interval=(1.0, 5.0))
    other = replace(one, value=4.0, interval=(3.0, 7.0))

    def interval(**changes):
        (row,) = merge([[replace(one, **changes)], [replace(other, **{"interval": other.interval} | second | changes)]])
        return row.interval

    second = {}
    # other images for each seed: the deviations are independent
    assert interval() == pytest.approx((3 - 2**0.5 / 2, 3 + 18**0.5 / 2))
    assert interval(group="reconstruction") == pytest.approx((2, 6))  # the same held-out images
    second = {"interval": None}  # scored without one, to save its time
    assert interval() == pytest.approx((3 - 1 / 2**0.5, 3 + 3 / 2**0.5))
    assert interval(group="reconstruction") == pytest.approx((2, 6))
    assert interval(within=(2.4, 4.0)) == (2.4, 4.0)


def test_one_seed_merges_to_itself():
    first, _, _ = merged()
    for row, alone in zip(first, merge([first]), strict=True):
        assert alone.interval == pytest.approx(row.interval, rel=1e-12)
        assert replace(alone, interval=None) == replace(row, interval=None, per_seed=(row.value,))


def test_entries_of_other_groups_need_no_extractor():
    score = Score("MSE", "MSE", "reconstruction", 0.5, "lower", n=9)
    (row,) = merge([[score], [replace(score, value=0.7)]])
    assert (row.value, row.per_seed, row.spread) == (pytest.approx(0.6), (0.5, 0.7), None)
    assert (row.interval, row.interval_of) == (None, "")


@pytest.mark.parametrize(
    ("key", "other"), [("n_generated", 51), ("n_real", 61), ("label", "x"), ("extractor", "x"), ("resize", 8), ("n", 3)]
)
def test_what_differs_between_evaluation_seeds_is_refused_not_averaged(key, other):
    with pytest.raises(UserError, match=rf"^coverage: {key} is .* and {other!r} for another") as caught:
        merged(**{key: other})
    assert "\n" not in str(caught.value)


def test_an_entry_that_one_seed_lacks_is_refused():
    first, second, _ = merged()
    with pytest.raises(UserError, match=r"evaluation seed 2 of 2 .* 'FD'"):
        merge([first, second[1:]])
    with pytest.raises(ValueError, match="no evaluation seeds"):
        merge([])
    with pytest.raises(ValueError, match="occur twice"):
        merge([first + first])
