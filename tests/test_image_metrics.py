"""Measures of images and of paths: closed forms, scikit-image, and curves whose lengths are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import roc_auc_score

from bench.metrics.auroc import auroc
from bench.metrics.images import psnr, reconstruction_mse, ssim
from bench.metrics.paths import midpoint_realism, smoothness

# Images


def test_reconstruction_error_is_per_pixel_and_image():
    x = torch.linspace(-1, 1, 48).view(3, 1, 4, 4)
    y = x + torch.tensor([0.0, 0.5, -2.0]).view(3, 1, 1, 1)
    assert reconstruction_mse(x, y).tolist() == pytest.approx([0, 0.25, 4], abs=1e-6)


def test_reconstruction_error_refuses_what_would_broadcast_or_hide():
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="of one shape"):
        reconstruction_mse(x, torch.zeros(2, 1, 4, 4))
    bad = x.clone()
    bad[1, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="reconstruction 1 "):
        reconstruction_mse(x, bad)


def path(points):
    """(points, 2) coordinates as one pair's path of 1x1 images with two channels."""
    return torch.as_tensor(np.asarray(points), dtype=torch.float64)[None, :, :, None, None]


def test_a_straight_even_line_is_perfectly_smooth():
    t = np.linspace(0, 1, 9)[:, None]
    result = smoothness(path(t * [0.5, -0.25]))
    assert result["length ratio"] == pytest.approx(1, abs=1e-12)
    assert result["largest step"] == pytest.approx(1, abs=1e-12)
    assert (result["pairs"], result["points"], result["degenerate pairs"]) == (1, 9, 0)
    assert result["length ratio sd"] is None


def test_a_semicircle_is_half_pi_times_as_long_as_its_diameter():
    angle = np.linspace(0, np.pi, 201)
    result = smoothness(path(np.stack([np.cos(angle), np.sin(angle)], 1)))
    assert result["length ratio"] == pytest.approx(np.pi / 2, rel=1e-4)
    assert result["largest step"] == pytest.approx(1, rel=1e-6)


def test_a_jump_has_a_largest_step_of_all_steps():
    result = smoothness(path([[0, 0]] * 4 + [[1, 0]]))
    assert (result["length ratio"], result["largest step"]) == (1, 4)


def test_pairs_are_averaged_and_closed_paths_counted_but_left_out():
    straight, detour = path([[0, 0], [1, 0], [2, 0]]), path([[0, 0], [0, 1.5], [2, 1.5]])
    closed = path([[0, 0], [1, 0], [0, 0]])
    result = smoothness(torch.cat([straight, detour, closed]))
    ratios = [1, 3.5 / 2.5]
    assert result["length ratio"] == pytest.approx(np.mean(ratios))
    assert result["length ratio sd"] == pytest.approx(np.std(ratios, ddof=1))
    assert result["largest step"] == pytest.approx((1 + 2 / 1.75) / 2)
    assert (result["pairs"], result["degenerate pairs"]) == (3, 1)


def test_only_closed_paths_have_no_values():
    result = smoothness(path([[0, 0], [0, 0]]))
    assert (result["length ratio"], result["largest step"], result["degenerate pairs"]) == (None, None, 1)
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("shape", [(2, 1, 3, 4, 4), (0, 5, 3, 4, 4), (5, 3, 4, 4)])
def test_paths_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="paths are"):
        smoothness(torch.zeros(shape))


def test_the_second_difference_of_a_corner_and_of_a_turn_back_is_known():
    corner = smoothness(path([[0, 0], [1, 0], [1, 1]]))
    assert corner["second difference"] == pytest.approx(math.sqrt(2))
    back = smoothness(path([[0, 0], [1, 0], [0, 0], [1, 0]]))  # every step undoes the one before
    assert back["second difference"] == pytest.approx(2)
    jump = smoothness(path([[0, 0]] * 4 + [[1, 0]]))
    assert jump["second difference"] == pytest.approx((1 / 3) / (1 / 4))
    assert smoothness(path([[0, 0], [1, 0], [2, 0]]))["second difference"] == 0
    assert smoothness(path([[0, 0], [1, 0]]))["second difference"] is None


def test_the_second_difference_does_not_depend_on_scale():
    points = np.random.default_rng(0).standard_normal((6, 2))
    one, ten = smoothness(path(points)), smoothness(path(10 * points))
    assert one["second difference"] == pytest.approx(ten["second difference"], rel=1e-12)


def test_the_feature_length_ratio_is_that_of_the_features_path():
    straight = torch.cat([path([[0, 0], [1, 0], [2, 0]])] * 2)
    angle = torch.linspace(0, math.pi, 3, dtype=torch.float64)
    semicircle = torch.stack([angle.cos(), angle.sin()], 1)
    closed = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    result = smoothness(straight, torch.stack([semicircle, closed]))
    assert result["length ratio"] == pytest.approx(1)
    assert result["feature length ratio"] == pytest.approx(math.sqrt(2))  # the closed one has no ratio
    assert result["feature length ratio sd"] is None
    assert "feature length ratio" not in smoothness(straight)


def test_features_that_do_not_go_with_the_paths_are_refused():
    paths = torch.zeros(2, 3, 1, 4, 4)
    with pytest.raises(ValueError, match=r"features are \(2, 4, 5\)"):
        smoothness(paths, torch.zeros(2, 4, 5))
    with pytest.raises(ValueError, match="not finite"):
        smoothness(paths, torch.full((2, 3, 5), float("inf")))


def test_midpoints_are_held_against_the_ends():
    real = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    ends = torch.tensor([[1.0, 0.0], [10.0, 3.0]])  # 1 and 3 from their nearest real ones
    assert midpoint_realism(torch.tensor([[5.0, 0.0]]), ends, real) == pytest.approx(5 / 2)
    assert midpoint_realism(ends, ends, real) == pytest.approx(1)
    assert midpoint_realism(real, ends, real) == 0
    with pytest.raises(ValueError, match="all among the real"):
        midpoint_realism(ends, real, real)


# Similarity


def pairs(side, channels=3, n=5):
    draw = torch.Generator().manual_seed(side)
    x = torch.rand(n, channels, side, side, generator=draw) * 2 - 1
    return x, (x + 0.3 * torch.randn(x.shape, generator=draw)).clamp(-1, 1)


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (7, 3), (32, 3)])
def test_ssim_is_scikit_images(monkeypatch, side, channels):
    monkeypatch.setattr("bench.metrics.images._ROWS", 2)
    x, y = pairs(side, channels)
    expected = [
        structural_similarity(a.numpy(), b.numpy(), data_range=1, channel_axis=0)
        for a, b in zip((x.double() + 1) / 2, (y.double() + 1) / 2, strict=True)
    ]
    np.testing.assert_allclose(ssim(x, y), expected, rtol=1e-9)
    assert ssim(x, x).tolist() == pytest.approx([1] * 5)
    assert (ssim(x, -x) < 0).all()


def test_images_smaller_than_the_window_have_no_ssim():
    with pytest.raises(ValueError, match="sides of 7 or more"):
        ssim(*pairs(6))


def test_psnr_is_scikit_images_and_that_of_images_between_0_and_1():
    x, y = pairs(8)
    expected = [peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=2) for a, b in zip(x, y, strict=True)]
    assert psnr(x, y).tolist() == pytest.approx(expected, rel=1e-5)
    unit = [
        peak_signal_noise_ratio((a.numpy() + 1) / 2, (b.numpy() + 1) / 2, data_range=1)
        for a, b in zip(x, y, strict=True)
    ]
    assert psnr(x, y).tolist() == pytest.approx(unit, rel=1e-5)
    assert psnr(torch.ones(1, 1, 8, 8), -torch.ones(1, 1, 8, 8)).tolist() == [0]


def test_equal_images_have_a_finite_psnr():
    x, _ = pairs(8)
    assert psnr(x, x).tolist() == [100] * 5


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_similarity_refuses_what_the_error_does(measure):
    x = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="of one shape"):
        measure(x, torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="reconstruction 0 "):
        measure(x, torch.full_like(x, float("nan")))


# AUROC


def test_auroc_is_scikit_learns_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, 12, 70), rng.integers(0, 9, 50)
    expected = roc_auc_score(np.repeat([1, 0], [70, 50]), np.concatenate([a, b]))
    assert auroc(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-12)


def test_auroc_of_scores_that_part_the_sets_tie_or_are_exchanged():
    high, low = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0, -5.0])
    assert (auroc(high, low), auroc(low, high), auroc(high, high)) == (1, 0, 0.5)


@pytest.mark.parametrize("scores", [torch.zeros(0), torch.zeros(2, 2), torch.tensor([1.0, float("nan")])])
def test_auroc_refuses_scores_that_have_no_order(scores):
    with pytest.raises(ValueError, match="scores"):
        auroc(scores, torch.zeros(3))
    with pytest.raises(ValueError, match="scores"):
        auroc(torch.zeros(3), scores)
