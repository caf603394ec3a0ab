"""KID against explicit sums and torch-fidelity, on every way of computing it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch_fidelity.metric_kid import kid_features_to_metric

from bench.metrics import kid, products
from tests.feature_sets import random_features, result, value


def unbiased_mmd(x, y):
    """The unbiased estimate with explicit sums over pairs."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return within - 2 * xy.mean()


def test_kid_of_one_full_subset_is_the_unbiased_mmd():
    x, y = random_features(2, seed=1), random_features(2, seed=2, shift=1.0)
    one = result("KID", x, y)
    assert one.value == pytest.approx(unbiased_mmd(x.features.double().numpy(), y.features.double().numpy()), rel=1e-9)
    assert one.spread is None  # two images have one subset: no deviation to speak of


def test_kid_averages_subsets_around_the_full_estimate():
    x, y = random_features(300, seed=1), random_features(300, seed=2, shift=0.5)
    one = result("KID", x, y)
    full = unbiased_mmd(x.features.double().numpy(), y.features.double().numpy())
    assert one.details["spread_of"] == "100 subsets of 150"
    assert 0 < one.spread < full
    assert abs(one.value - full) < 4 * one.spread / math.sqrt(100)


WAYS = {  # products kept, pairs computed once for all subsets
    "kept": (products.STORED, True),
    "computed in blocks": (0, True),
    "each subset": (0, False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("real", "generated"), [(150, 110), (60, 240)])
def test_kid_is_torch_fidelitys(monkeypatch, way, real, generated):
    kept, once = WAYS[way]
    monkeypatch.setattr(products, "STORED", kept)
    monkeypatch.setattr(products, "ROWS", 64)
    monkeypatch.setattr(kid, "_all_pairs_are_fewer", lambda *sizes: once)
    x, y = random_features(real, 12, seed=1), random_features(generated, 12, seed=2, shift=0.03)
    one = result("KID", x, y, seed=7)
    expected = kid_features_to_metric(
        y.features.double(),
        x.features.double(),
        kid_subsets=100,
        kid_subset_size=min(real, generated) // 2,
        rng_seed=7,
        verbose=False,
    )
    assert one.value == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-9)
    assert one.spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-9)


def test_the_cheaper_way_is_taken():
    assert kid._all_pairs_are_fewer(5000, 5000, 1000)
    assert kid._all_pairs_are_fewer(12000, 12000, 1000)
    assert not kid._all_pairs_are_fewer(40000, 40000, 1000)


def test_effects_are_the_derivative_of_the_full_estimate():
    x, y = random_features(90, seed=1), random_features(70, seed=2, shift=0.5)
    influence = result("KID", x, y).influence()
    full = unbiased_mmd(y.features.double().numpy(), x.features.double().numpy())
    for i in (0, 33, 69):
        others = np.delete(y.features.double().numpy(), i, axis=0)
        assert 69 * (full - unbiased_mmd(others, x.features.double().numpy())) == pytest.approx(
            float(influence[i]), abs=0.05 * float(influence.std()) + 0.02 * abs(float(influence[i]))
        )


@pytest.mark.parametrize(("real", "generated", "size"), [(3, 3, 2), (40, 90, 20), (90, 40, 20), (2100, 2050, 1000)])
def test_kid_subsets_hold_at_most_half_of_the_smaller_set(monkeypatch, real, generated, size):
    monkeypatch.setattr(kid, "SUBSETS", 3)
    one = result("KID", random_features(real, seed=1), random_features(generated, seed=2))
    assert one.details["spread_of"] == f"3 subsets of {size}"
    assert one.spread > 0


def test_kid_of_draws_from_one_distribution_is_on_both_sides_of_zero():
    values = [value("KID", random_features(40, seed=2 * s), random_features(40, seed=2 * s + 1)) for s in range(12)]
    assert min(values) < 0 < max(values)
