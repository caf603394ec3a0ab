"""Nearest neighbours and what is counted of them, against prdc, torch-fidelity and sets whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.features import Features
from bench.metrics import METRICS, FeatureSets, products
from bench.metrics.coverage import expected_coverage
from bench.metrics.neighbours import nearest
from tests.feature_sets import features, random_features, result, value

NAMES = ("precision", "recall", "density", "coverage")


def four(real, generated):
    sets = FeatureSets(real, generated)
    return {name: METRICS[name].function(sets, seed=0).value for name in NAMES}


@pytest.mark.parametrize("kept", [products.STORED, 0])  # float64 from kept products; float32 in blocks
@pytest.mark.parametrize(("real", "generated", "shift"), [(300, 200, 0.0), (200, 300, 0.4), (150, 150, -0.8)])
def test_the_four_are_those_of_prdc_and_torch_fidelity(monkeypatch, kept, real, generated, shift):
    monkeypatch.setattr(products, "STORED", kept)
    monkeypatch.setattr("bench.metrics.neighbours._BLOCK", 7000)  # several blocks, the last one ragged
    x, y = random_features(real, 8, seed=1), random_features(generated, 8, seed=2, shift=shift)
    found = four(x, y)
    expected = compute_prdc(x.features.double().numpy(), y.features.double().numpy(), nearest_k=5)
    assert found == pytest.approx(expected, rel=1e-9)
    theirs = prc_features_to_metric(y.features.double(), x.features.double(), prc_neighborhood=5, verbose=False)
    assert [found["precision"], found["recall"]] == pytest.approx([theirs["precision"], theirs["recall"]], rel=1e-6)
    assert 0 < found["coverage"] < 1


@pytest.mark.parametrize("kept", [products.STORED, 0])
def test_features_far_from_the_origin_have_the_same_neighbours(monkeypatch, kept):
    monkeypatch.setattr(products, "STORED", kept)
    sets = [random_features(150, 8, seed=s).features.mul(64).round() / 64 for s in (1, 2)]  # exact when moved
    assert four(*(features(x + 512) for x in sets)) == four(*(features(x) for x in sets))


def test_precision_is_of_the_generated_and_recall_of_the_real_images():
    wide = random_features(400, 2, seed=1)
    narrow = Features(0.1 * random_features(400, 2, seed=2).features, wide.logits)
    few_modes, all_real = four(wide, narrow), four(narrow, wide)
    assert few_modes["precision"] == 1
    assert few_modes["recall"] < 0.3
    assert all_real["precision"] < 0.3
    assert all_real["recall"] == 1


def test_coverage_is_the_share_of_modes_that_are_hit():
    modes = torch.arange(4).repeat(50)[:, None] * 100.0
    real = features(random_features(200, 2, seed=1).features + modes)
    generated = features(random_features(100, 2, seed=2).features)  # all in the first mode
    found = four(real, generated)
    assert found["coverage"] == pytest.approx(0.25, abs=0.02)
    assert found["precision"] > 0.9
    assert four(generated, real)["coverage"] > 0.9


@pytest.mark.parametrize(("n_real", "n_generated"), [(60, 60), (120, 30), (40, 60)])
def test_coverage_of_equal_distributions_is_the_expected_one(n_real, n_generated):
    found = [
        value("coverage", random_features(n_real, 4, seed=2 * s), random_features(n_generated, 4, seed=2 * s + 1))
        for s in range(60)
    ]
    expected = expected_coverage(n_real, n_generated)
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 60**0.5)
    assert np.std(found) / 60**0.5 < 0.015


def test_expected_coverage_by_hand():
    assert expected_coverage(2, 1, k=1) == pytest.approx(1 / 2)  # which of the two others is nearer
    assert expected_coverage(1498, 299) == pytest.approx(0.598, abs=5e-4)
    assert expected_coverage(1498, 1000) == pytest.approx(0.923, abs=5e-4)
    assert expected_coverage(10**9, 10**9) == pytest.approx(1 - 2**-5)
    with pytest.raises(ValueError, match="5 real images have no 5-th neighbour"):
        expected_coverage(5, 10)
    note = result("coverage", random_features(20, seed=1), random_features(30, seed=2)).details["note"]
    assert f"{expected_coverage(20, 30):.3f} expected of equal distributions" in note


def test_one_outlier_with_a_wide_ball_moves_precision_and_not_density():
    real = torch.cat([random_features(100, 2, seed=1).features, torch.tensor([[60.0, 0.0]])])
    generated = features(random_features(100, 2, seed=2).features + torch.tensor([40.0, 0.0]))
    found = four(features(real), generated)
    assert found["precision"] == 1
    assert found["density"] == pytest.approx(1 / 5)


def test_boundaries_count_for_precision_and_recall_as_in_torch_fidelity_and_not_for_density_and_coverage_as_in_prdc():
    line = torch.arange(40.0)[:, None]  # integers: distances to neighbours are exact, and on the boundary
    x, y = line.repeat(1, 2), line[:30].repeat(1, 2) + 3.0
    found = four(features(x), features(y))
    expected = compute_prdc(x.double().numpy(), y.double().numpy(), nearest_k=5)
    theirs = prc_features_to_metric(y.double(), x.double(), prc_neighborhood=5, verbose=False)
    assert found["density"] == pytest.approx(expected["density"])
    assert found["coverage"] == pytest.approx(expected["coverage"])
    assert [found["precision"], found["recall"]] == pytest.approx([theirs["precision"], theirs["recall"]], rel=1e-6)
    assert found["recall"] != pytest.approx(expected["recall"])  # else the boundaries would not have been tested


@pytest.mark.parametrize("kept", [products.STORED, 0])
def test_a_collapsed_model_has_balls_of_no_size(monkeypatch, kept):
    monkeypatch.setattr(products, "STORED", kept)
    real = random_features(100, 16, seed=1, shift=3.0)
    collapsed = Features(real.features[7:8].repeat(80, 1), torch.zeros(80, 5))
    found = four(real, collapsed)
    assert found["precision"] == 1
    assert found["recall"] == pytest.approx(1 / 100)  # the one real image that all the generated ones equal
    assert found["coverage"] < 0.2


def test_too_few_images_have_no_fifth_neighbour():
    with pytest.raises(ValueError, match="5 images have no 5-th neighbour"):
        value("precision", random_features(9), random_features(5))


# Nearest and memorization


def test_nearest_is_that_of_a_loop():
    x, y = random_features(40, 6, seed=1).features + 1000, random_features(70, 6, seed=2).features + 1000
    index, distance = nearest(x, y)
    for i in range(40):
        gaps = [float((x[i].double() - y[j].double()).norm()) for j in range(70)]
        assert (int(index[i]), float(distance[i])) == (int(np.argmin(gaps)), pytest.approx(min(gaps), rel=1e-12))


def test_the_distance_of_equal_features_is_exactly_zero():
    x = random_features(50, 64, seed=1).features * 100
    index, distance = nearest(x[[4, 9]].clone(), x)
    assert index.tolist() == [4, 9]
    assert distance.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("points", "references", "message"),
    [
        (torch.zeros(0, 4), torch.zeros(3, 4), "must be"),
        (torch.zeros(3, 4), torch.zeros(3, 5), "4 wide, references 5"),
        (torch.full((3, 4), float("nan")), torch.zeros(3, 4), "not all finite"),
    ],
)
def test_nearest_refuses_what_has_no_neighbour(points, references, message):
    with pytest.raises(ValueError, match=message):
        nearest(points, references)


def test_copies_score_one_and_new_images_one_half():
    real, held_out = random_features(300, 6, seed=1), random_features(200, 6, seed=2)
    copies = Features(real.features[:100] + 1e-4, real.logits[:100])
    assert value("memorization", real, copies, held_out=held_out) == 1
    assert value("memorization", real, random_features(400, 6, seed=3), held_out=held_out) == pytest.approx(
        0.5, abs=0.06
    )
    assert value("memorization", real, random_features(100, 6, seed=3, shift=9.0), held_out=held_out) == 0
    assert value("memorization", real, held_out, held_out=held_out) == pytest.approx(0.5, abs=1e-12)


def test_copying_is_the_mann_whitney_statistic():
    real, made, held_out = (random_features(n, 3, seed=s) for n, s in ((50, 1), (60, 2), (40, 3)))
    near, far = (nearest(f.features, real.features)[1].numpy() for f in (made, held_out))
    expected = scipy.stats.mannwhitneyu(far, near).statistic / (40 * 60)
    assert value("memorization", real, made, held_out=held_out) == pytest.approx(expected, rel=1e-12)


def test_there_is_no_copying_without_held_out_images():
    assert result("memorization", random_features(20), random_features(20, seed=1)) is None
