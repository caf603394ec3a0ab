"""Metrics against closed forms, against direct implementations, and what the rows of `score` say about themselves."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from bench.errors import UserError
from bench.features import Features
from bench.metrics import METRICS, kid, score
from bench.metrics.images import reconstruction_mse, smoothness


@dataclasses.dataclass
class StubExtractor:
    """What `score` reads of an extractor."""

    name: str = "stub"
    side: int = 16
    width: int = 4
    weights_hash: str = "ab" * 32
    label: str = "stub, 16 px"


def features(x, classes=3):
    x = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    return Features(x, torch.zeros(len(x), classes))


def logits(x):
    x = torch.as_tensor(x, dtype=torch.float32)
    return Features(torch.zeros(len(x), 4), x)


def gaussian(n, mean, covariance, seed):
    """Features whose sample mean and covariance are exactly these."""
    x = np.random.default_rng(seed).standard_normal((n, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return features(white @ np.linalg.cholesky(np.asarray(covariance, dtype=float)).T + np.asarray(mean))


def value(name, real, generated, seed=0):
    return METRICS[name].function(real, generated, seed=seed).value


def random_features(n, width=4, classes=5, seed=0, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    return Features(
        torch.randn(n, width, generator=draw) + shift, torch.randn(n, classes, generator=draw).mul(2) + shift
    )


# Frechet distance


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
    u, v = np.array([1.0, 2.0, 0.0, -1.0]), np.array([0.5, -1.0, 3.0, 1.0])
    expected = 2 * u @ u + 2 * v @ v - 4 * abs(u @ v) + 4  # two points +-u have the covariance 2 u u'
    assert value("FD", features([u, -u]), features(np.stack([v, -v]) + 1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("real", "generated", "width"), [(9, 30, 12), (30, 9, 12), (6, 7, 12), (12, 12, 12), (40, 40, 12)]
)
def test_frechet_distance_is_torch_fidelitys_at_any_rank(real, generated, width):
    a, b = random_features(real, width, seed=1), random_features(generated, width, seed=2, shift=0.4)
    one, two = (fid_features_to_statistics(f.features.double()) for f in (a, b))
    expected = fid_statistics_to_metric(one, two, verbose=False)["frechet_inception_distance"]
    assert value("FD", a, b) == pytest.approx(expected, rel=1e-5)
    assert value("FD", a, a) == pytest.approx(0, abs=1e-9)


# KID


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
    result = METRICS["KID"].function(x, y, seed=0)
    assert result.value == pytest.approx(
        unbiased_mmd(x.features.double().numpy(), y.features.double().numpy()), rel=1e-9
    )
    assert result.spread is None  # two images have one subset: no deviation to speak of


def test_kid_averages_subsets_around_the_full_estimate():
    x, y = random_features(300, seed=1), random_features(300, seed=2, shift=0.5)
    result = METRICS["KID"].function(x, y, seed=0)
    full = unbiased_mmd(x.features.double().numpy(), y.features.double().numpy())
    assert result.details["spread_of"] == "100 subsets of 150"
    assert 0 < result.spread < full
    assert abs(result.value - full) < 4 * result.spread / math.sqrt(100)


@pytest.mark.parametrize(("real", "generated", "size"), [(3, 3, 2), (40, 90, 20), (90, 40, 20), (2100, 2050, 1000)])
def test_kid_subsets_hold_at_most_half_of_the_smaller_set(monkeypatch, real, generated, size):
    monkeypatch.setattr(kid, "SUBSETS", 3)
    result = METRICS["KID"].function(random_features(real, seed=1), random_features(generated, seed=2), seed=0)
    assert result.details["spread_of"] == f"3 subsets of {size}"
    assert result.spread > 0


def test_kid_of_draws_from_one_distribution_is_on_both_sides_of_zero():
    values = [value("KID", random_features(40, seed=2 * s), random_features(40, seed=2 * s + 1)) for s in range(12)]
    assert min(values) < 0 < max(values)


# Inception Score


def test_inception_score_of_certain_and_even_predictions_is_the_number_of_classes():
    assert value("IS", logits(torch.eye(4)), logits(60 * torch.eye(7).repeat(10, 1))) == pytest.approx(7, rel=1e-9)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [9.0, -3.0, 1.0]])
def test_inception_score_of_constant_predictions_is_one(row):
    result = METRICS["IS"].function(logits(torch.eye(3)), logits([row] * 200), seed=0)
    assert result.value == pytest.approx(1, abs=1e-9)
    assert result.spread == pytest.approx(0, abs=1e-9)
    assert result.details["spread_of"] == "10 splits of 20"


def test_inception_score_shuffles_before_it_splits():
    in_order = logits(60 * torch.eye(10).repeat_interleave(20, 0))  # unshuffled, each of the ten splits is one class
    assert value("IS", in_order, in_order) > 5


def test_few_images_are_one_split_without_a_spread():
    result = METRICS["IS"].function(random_features(99), random_features(99), seed=0)
    assert (result.spread, result.details["spread_of"]) == (None, "1 split of 99")


def test_inception_score_looks_at_the_generated_images_alone():
    sure, unsure = logits(60 * torch.eye(5).repeat(8, 1)), logits(torch.zeros(40, 5))
    assert value("IS", sure, unsure) == pytest.approx(1)
    assert value("IS", unsure, sure) == pytest.approx(5)


# The rows


def test_scores_are_functions_of_the_seed_alone():
    a, b = random_features(200, seed=1), random_features(200, seed=2)
    first = score(a, b, StubExtractor(), seed=7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert score(a, b, StubExtractor(), seed=7) == first
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    other = score(a, b, StubExtractor(), seed=2**40 + 8)  # larger than NumPy's seeds
    assert other[0]["value"] == first[0]["value"]
    assert all(o["value"] != f["value"] for o, f in zip(other[1:], first[1:], strict=True))


class PixelSums(torch_fidelity.FeatureExtractorBase):
    """A cheap extractor in torch-fidelity's own terms: block sums and their differences."""

    def __init__(self, name, features_list, **kwargs):
        super().__init__(name, features_list)

    def forward(self, images):
        wide = images.float().unfold(2, 2, 2).unfold(3, 2, 2).sum((1, 4, 5)).flatten(1) / 400
        layers = {"wide": wide, "classes": 3 * wide.diff(dim=1)}
        return tuple(layers[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "wide", "classes"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "classes" if metric == "isc" else "wide"


torch_fidelity.register_feature_extractor("pixel-sums", PixelSums)


class Plain(torch.utils.data.Dataset):
    """Images as torch-fidelity takes them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


@pytest.mark.parametrize("n", [40, 12])  # more images than the 16 features, and fewer
def test_scores_are_those_of_torch_fidelity_from_the_same_images(n):
    draw = torch.Generator().manual_seed(3)
    real, generated = (torch.randint(0, high, (n, 3, 8, 8), generator=draw).byte() for high in (256, 200))
    extractor = PixelSums("pixel-sums", ["wide", "classes"])
    rows = score(Features(*extractor(real)), Features(*extractor(generated)), StubExtractor(width=16), seed=11)
    with torch.random.fork_rng(devices=[]):
        expected = torch_fidelity.calculate_metrics(
            input1=Plain(generated),
            input2=Plain(real),
            feature_extractor="pixel-sums",
            cuda=False,
            fid=True,
            kid=True,
            isc=True,
            kid_subset_size=n // 2,
            isc_splits=1,
            rng_seed=11,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
        )
    names = ["frechet_inception_distance", "kernel_inception_distance_mean", "inception_score_mean"]
    assert [r["value"] for r in rows] == pytest.approx([expected[n] for n in names], rel=1e-5)
    assert rows[1]["spread"] == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-5)
    assert rows[2]["value"] > 1.05


def test_rows_name_extractor_sizes_and_counts_and_are_json():
    rows = score(random_features(20, seed=1), random_features(30, seed=2), StubExtractor(), seed=0)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [r["name"] for r in rows] == ["FD", "KID", "IS"]
    assert [r["label"] for r in rows] == ["FD(stub)", "KID(stub)", "IS(stub)"]
    assert [r["better"] for r in rows] == ["lower", "lower", "higher"]
    for row in rows:
        assert (row["extractor"], row["resize"], row["weights_hash"]) == ("stub", 16, "ab" * 32)
        assert (row["n_real"], row["n_generated"]) == (20, 30)


@pytest.mark.parametrize(
    ("extractor", "labels"),
    [
        ("inception", ["FID", "KID", "IS"]),
        ("inception:1a2b3c4d", ["FD(inception:1a2b3c4d)", "KID(inception:1a2b3c4d)", "IS(inception:1a2b3c4d)"]),
    ],
)
def test_only_official_inception_is_called_fid(extractor, labels):
    rows = score(random_features(20, seed=1), random_features(20, seed=2), StubExtractor(name=extractor), seed=0)
    assert [r["label"] for r in rows] == labels
    assert rows[0]["name"] == ("FID" if extractor == "inception" else "FD")


@pytest.mark.parametrize(
    ("real", "generated", "leader"), [(7, 50, "KID"), (50, 7, "KID"), (8, 8, "FD"), (50, 50, "FD")]
)
def test_kid_leads_below_twice_as_many_images_as_features(real, generated, leader):
    rows = score(random_features(real, seed=1), random_features(generated, seed=2), StubExtractor(), seed=0)
    assert [r["name"] for r in rows if r["lead"]] == [leader]
    assert ("biased upward" in rows[0]["note"]) == ("leads" in rows[1]["note"]) == (leader == "KID")


def test_rank_deficiency_is_stated():
    rows = score(random_features(4, seed=1), random_features(9, seed=2), StubExtractor(), seed=0)
    assert "rank-deficient" in rows[0]["note"]
    assert "4 images for 4 features" in rows[0]["note"]


@pytest.mark.parametrize("which", ["features", "logits"])
@pytest.mark.parametrize("side", ["real", "generated"])
def test_features_that_are_not_finite_name_the_image(which, side):
    sets = {"real": random_features(9, seed=1), "generated": random_features(9, seed=2)}
    getattr(sets[side], which)[5, 1] = float("nan")
    with pytest.raises(UserError, match=f"{side} features are not finite for image 5 ") as caught:
        score(sets["real"], sets["generated"], StubExtractor(), seed=0)
    assert "\n" not in str(caught.value)


def test_one_image_is_refused():
    with pytest.raises(UserError, match=r"1 generated images.*at least 2"):
        score(random_features(9), random_features(1), StubExtractor(), seed=0)


def test_features_of_another_extractor_are_refused():
    with pytest.raises(ValueError, match="generated features are 6 wide"):
        score(random_features(9), random_features(9, width=6), StubExtractor(), seed=0)


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
