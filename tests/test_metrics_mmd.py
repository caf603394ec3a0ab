"""Maximum mean discrepancy with a Gaussian kernel, and KID from held-out images: against explicit sums."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance as distances

from bench.features import Features
from bench.metrics import FeatureSets, kid_held_out, products, score
from bench.metrics.mmd import bandwidth
from tests.feature_sets import StubExtractor, features, random_features, result, value
from tests.test_metrics_kid import unbiased_mmd


def unbiased_gaussian(x, y, b):
    """The unbiased estimate with explicit sums over pairs."""

    def kernel(p, q):
        return np.exp(-distances.cdist(p, q, "sqeuclidean") / (2 * b * b))

    n, m = len(x), len(y)
    within = (kernel(x, x).sum() - n) / (n * (n - 1)) + (kernel(y, y).sum() - m) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def array(one: Features) -> np.ndarray:
    return one.features.double().numpy()


@pytest.mark.parametrize("kept", [products.STORED, 0])
def test_mmd_is_the_sum_over_pairs_with_the_median_distance_of_real_images(monkeypatch, kept):
    monkeypatch.setattr(products, "STORED", kept)
    real, made = random_features(70, 6, seed=1), random_features(50, 6, seed=2, shift=0.5)
    b = bandwidth(real.features)
    assert b == np.sort(distances.pdist(array(real)))[(70 * 69 // 2 - 1) // 2]
    expected = unbiased_gaussian(array(made), array(real), b)
    assert value("MMD", real, made) == pytest.approx(expected, rel=1e-9 if kept else 1e-4)
    assert value("MMD", real, random_features(50, 6, seed=3, shift=99.0)) == pytest.approx(
        unbiased_gaussian(array(random_features(50, 6, seed=3, shift=99.0)), array(real), b), rel=1e-4
    )


def test_the_bandwidth_is_of_the_real_images_alone():
    real = random_features(60, 6, seed=1)
    notes = {result("MMD", real, random_features(40, 6, seed=s, shift=s)).details["note"] for s in range(3)}
    assert len(notes) == 1
    first = random_features(1500, 6, seed=4).features
    assert bandwidth(first) == bandwidth(first[:1000]) != bandwidth(first[:900])


def test_mmd_of_equal_distributions_is_on_both_sides_of_zero_and_grows_with_the_shift():
    values = [value("MMD", random_features(80, seed=2 * s), random_features(80, seed=2 * s + 1)) for s in range(30)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / 30**0.5
    real = random_features(200, seed=1)
    shifted = [value("MMD", real, random_features(200, seed=2, shift=shift)) for shift in (0.0, 0.5, 1.0, 2.0, 50.0)]
    assert shifted == sorted(shifted)
    assert shifted[-1] < 2


def test_equal_real_images_have_no_bandwidth():
    assert result("MMD", features(np.ones((20, 4))), random_features(20)) is None


@pytest.mark.parametrize("name", ["MMD", "KID held-out", "KID memorization gap"])
def test_the_influence_is_that_of_leaving_an_image_out(name):
    real, held_out = random_features(90, 6, seed=1), random_features(60, 6, seed=2)
    made = random_features(80, 6, seed=3, shift=0.4)
    influence = result(name, real, made, held_out=held_out).influence()
    assert abs(float(influence.mean())) < 1e-12
    without = []
    for i in range(80):
        kept = [j for j in range(80) if j != i]
        without.append(value(name, real, Features(made.features[kept], made.logits[kept]), held_out=held_out))
    jackknife = 79 * (np.mean(without) - np.array(without))
    assert np.corrcoef(influence.numpy(), jackknife)[0, 1] > 0.999
    assert influence.numpy().std() == pytest.approx(jackknife.std(), rel=0.05)


@pytest.mark.parametrize("most", [10_000, 45])
def test_kid_held_out_and_its_gap_are_the_sums_over_pairs(monkeypatch, most):
    monkeypatch.setattr(kid_held_out, "MOST", most)
    real, held_out, made = (random_features(n, 6, seed=n, shift=n / 100) for n in (70, 40, 50))
    far = value("KID held-out", real, made, held_out=held_out)
    x, y, h = array(made), array(real)[:most], array(held_out)
    if most > 100:
        assert far == pytest.approx(unbiased_mmd(x, h), rel=1e-9)
    else:  # of the pairs of generated images, those with one of the first 45
        kernel = (x @ x[:45].T / 6 + 1) ** 3
        others = [np.delete(row, i).mean() if i < 45 else row.mean() for i, row in enumerate(kernel)]
        all_pairs = ((x @ x.T / 6 + 1) ** 3)[~np.eye(50, dtype=bool)].mean()
        assert far == pytest.approx(unbiased_mmd(x, h) - all_pairs + np.mean(others), rel=1e-8)
    gap = value("KID memorization gap", real, made, held_out=held_out)
    assert gap == pytest.approx(unbiased_mmd(x, h) - unbiased_mmd(x, y), rel=1e-8)


def test_a_memorizer_has_a_gap_and_a_generalizer_none():
    gaps = {"copies": [], "new": []}
    for s in range(20):
        real, held_out = random_features(60, 6, seed=3 * s), random_features(60, 6, seed=3 * s + 1)
        gaps["copies"].append(value("KID memorization gap", real, real, held_out=held_out))
        new = random_features(60, 6, seed=3 * s + 2)
        gaps["new"].append(value("KID memorization gap", real, new, held_out=held_out))
    assert min(gaps["copies"]) > 0
    assert abs(np.mean(gaps["new"])) < 3 * np.std(gaps["new"]) / 20**0.5


def test_held_out_images_are_not_compared_with_themselves():
    real, held_out = random_features(30, seed=1), random_features(30, seed=2)
    for sets, there in (
        (FeatureSets(real, held_out, held_out, generated_is_held_out=True), False),
        (FeatureSets(real, held_out, held_out), True),
        (FeatureSets(real, held_out), False),
    ):
        names = {row.name for row in score(sets, StubExtractor(), seed=0, intervals=False)}
        assert ({"memorization", "KID held-out", "KID memorization gap"} <= names) == there
        assert ({"memorization", "KID held-out", "KID memorization gap"} & names == set()) != there
