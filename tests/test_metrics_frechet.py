"""Frechet distances against closed forms and torch-fidelity, at any rank, and extrapolated."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from bench.errors import UserError
from bench.features import Features
from bench.metrics import METRICS, FeatureSets
from bench.metrics.frechet import Moments, frechet_of_moments
from bench.metrics.frechet_infinity import _intercept
from tests.feature_sets import features, gaussian, random_features, result, value


def test_frechet_distance_of_axis_aligned_gaussians_is_the_closed_form():
    a = gaussian(50, [0, 0, 0], np.diag([1.0, 4.0, 9.0]), seed=1)
    b = gaussian(70, [1, -2, 3], np.diag([4.0, 4.0, 1.0]), seed=2)
    assert value("FD", a, b) == pytest.approx((1 + 4 + 9) + (1 + 0 + 4), rel=1e-5)


def test_frechet_distance_of_correlated_gaussians_is_the_closed_form():
    c1, c2 = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.6], [-0.6, 3.0]])
    expected = np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real) + 0.25
    assert value("FD", gaussian(40, [0, 0], c1, 3), gaussian(40, [0.5, 0], c2, 4)) == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_equal_sets_is_zero_and_it_is_symmetric():
    a, b = random_features(60, seed=1), random_features(80, seed=2, shift=0.3)
    assert value("FD", a, a) == pytest.approx(0, abs=1e-9)
    assert value("FD", a, b) == pytest.approx(value("FD", b, a), rel=1e-9)
    assert value("FD", a, b) > 0.1


def test_frechet_distance_keeps_float64_where_float32_means_would_drown():
    a = features(np.full((4096, 2), 4096.0) + np.random.default_rng(0).choice([-1, 1], (4096, 2)) * 2.0**-10)
    b = features(a.features.numpy() + 2.0**-9)
    assert value("FD", a, b) == pytest.approx(2 * 2.0**-18, rel=1e-3)


def test_frechet_distance_of_rank_one_sets_is_the_closed_form():
    u, v = np.zeros(100), np.zeros(100)
    u[:4], v[:4] = [1.0, 2.0, 0.0, -1.0], [0.5, -1.0, 3.0, 1.0]
    expected = 80 / 79 * (u @ u + v @ v - 2 * abs(u @ v)) + 100  # the covariance of +-u, 80 images, is 80/79 u u'
    assert value("FD", features([u, -u] * 40), features(np.stack([v, -v] * 40) + 1)) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize(
    ("real", "generated", "width"), [(70, 200, 90), (200, 70, 90), (66, 67, 90), (90, 90, 90), (40, 40, 12)]
)
def test_frechet_distance_is_torch_fidelitys_at_any_rank(real, generated, width):
    a, b = random_features(real, width, seed=1), random_features(generated, width, seed=2, shift=0.4)
    one, two = (fid_features_to_statistics(f.features.double()) for f in (a, b))
    expected = fid_statistics_to_metric(one, two, verbose=False)["frechet_inception_distance"]
    assert value("FD", a, b) == pytest.approx(expected, rel=1e-5)
    assert value("FD", a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_refused_below_64_images_unless_they_outnumber_the_features():
    with pytest.raises(UserError, match=r"^63 images for 63 features: .* at least 64 images") as caught:
        value("FD", random_features(63, 63), random_features(90, 63, seed=1))
    assert "\n" not in str(caught.value)
    assert value("FD", random_features(64, 64), random_features(90, 64, seed=1)) > 0
    assert value("FD", random_features(63, 62), random_features(90, 62, seed=1)) > 0


# Moments


def test_moments_of_parts_merge_to_those_of_the_whole():
    x = random_features(5000, 6, seed=3).features * 3 + 100  # more than one block
    whole, merged = Moments.of(x), Moments.of(x[:1]).merged(Moments.of(x[1:1200])).merged(Moments.of(x[1200:]))
    expected = np.cov(x.double().numpy(), rowvar=False)
    for moments in (whole, merged):
        assert moments.n == 5000
        np.testing.assert_allclose(moments.mean, x.double().mean(0), rtol=1e-12)
        np.testing.assert_allclose(moments.covariance, expected, rtol=1e-9, atol=1e-9)
        assert moments.mean.dtype == moments.scatter.dtype == torch.float64


def test_the_distance_of_moments_is_that_of_their_features():
    a, b = random_features(60, seed=1), random_features(80, seed=2, shift=0.3)
    moments = [Moments.of(f.features) for f in (a, b)]
    assert frechet_of_moments(*moments) == pytest.approx(value("FD", a, b), rel=1e-12)
    with pytest.raises(ValueError, match="1 image "):
        frechet_of_moments(moments[0], Moments.of(b.features[:1]))


def test_moments_of_nothing_are_refused():
    with pytest.raises(ValueError, match="one image or more"):
        Moments.of(torch.zeros(0, 4))


# FD infinity


def test_the_extrapolated_distance_is_unbiased_where_the_distance_is_not():
    width, n = 40, 400
    spectrum = np.arange(1, width + 1) ** -0.5
    real = gaussian(2000, np.zeros(width), np.diag(spectrum), seed=1)  # exact moments: no bias of its own
    truth = 0.25 + (spectrum + 1.2 * spectrum - 2 * np.sqrt(1.2) * spectrum).sum()
    plain, extrapolated, errors = [], [], []
    for seed in range(12):
        x = np.random.default_rng(seed).standard_normal((n, width)) * np.sqrt(1.2 * spectrum)
        sets = FeatureSets(real, features(x + 0.5 * np.eye(width)[0]))
        plain.append(METRICS["FD"].function(sets, seed=seed).value)
        score = METRICS["FD infinity"].function(sets, seed=seed)
        extrapolated.append(score.value)
        errors.append(score.spread)
    standard_error = np.std(extrapolated, ddof=1) / np.sqrt(len(extrapolated))
    assert abs(np.mean(extrapolated) - truth) < 3 * standard_error
    assert np.mean(plain) - truth > 10 * standard_error
    assert np.mean(plain) - truth > 3 * abs(np.mean(extrapolated) - truth)
    assert 0.2 < np.mean(errors) / np.std(extrapolated, ddof=1) < 2


@pytest.mark.parametrize("real", [300, 30])  # more real images than features, and fewer
def test_its_distances_are_those_of_the_subsets(monkeypatch, real):
    sets = FeatureSets(random_features(real, 32, seed=1), random_features(200, 32, seed=2, shift=0.2))
    seen = {}

    def record(x, y):
        seen["sizes"], seen["distances"] = 1 / x, y
        return _intercept(x, y)

    monkeypatch.setattr("bench.metrics.frechet_infinity._intercept", record)
    score = METRICS["FD infinity"].function(sets, seed=5)
    assert score.details["spread_of"] == "standard error of the fit over 6 sizes from 100 to 200"
    rng = np.random.default_rng(5)
    for size, distance in zip(seen["sizes"].round().astype(int), seen["distances"], strict=True):
        kept = sets.generated.features[rng.permutation(200)[:size]].double()
        one, two = (fid_features_to_statistics(x) for x in (kept, sets.real.features.double()))
        expected = fid_statistics_to_metric(one, two, verbose=False)["frechet_inception_distance"]
        assert distance == pytest.approx(expected, rel=1e-6)


def test_the_fit_is_the_least_squares_line():
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.5, 4.0, 7.0])
    line = scipy.stats.linregress(x, y)
    assert _intercept(x, y) == pytest.approx((line.intercept, line.intercept_stderr), rel=1e-12)


def test_too_few_images_have_no_extrapolation():
    assert result("FD infinity", random_features(90, 40), random_features(79, 40, seed=1)) is None
    assert result("FD infinity", random_features(90, 40), random_features(80, 40, seed=1)) is not None


def test_equal_sets_have_no_distance_at_infinity_but_the_bias_of_the_subsets():
    a = random_features(400, seed=1)
    assert abs(value("FD infinity", a, Features(a.features.clone(), a.logits))) < value(
        "FD", a, random_features(400, seed=2)
    )
