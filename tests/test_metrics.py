"""The Inception Score, and what the rows of `score` say about themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import torch
import torch_fidelity

from bench.errors import UserError
from bench.features import Features
from bench.metrics import FeatureSets, score
from bench.results.entries import scores_json
from tests.feature_sets import StubExtractor, logits, random_features, result, value

# Inception Score


def test_inception_score_of_certain_and_even_predictions_is_the_number_of_classes():
    assert value("IS", logits(torch.eye(4)), logits(60 * torch.eye(7).repeat(10, 1))) == pytest.approx(7, rel=1e-9)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [9.0, -3.0, 1.0]])
def test_inception_score_of_constant_predictions_is_one(row):
    constant = result("IS", logits(torch.eye(3)), logits([row] * 200))
    assert constant.value == pytest.approx(1, abs=1e-9)
    assert constant.spread == pytest.approx(0, abs=1e-9)
    assert constant.details["spread_of"] == "10 splits of 20"


def test_inception_score_shuffles_before_it_splits():
    in_order = logits(60 * torch.eye(10).repeat_interleave(20, 0))  # unshuffled, each of the ten splits is one class
    assert value("IS", in_order, in_order) > 5


def test_few_images_are_one_split_without_a_spread():
    few = result("IS", random_features(99), random_features(99))
    assert (few.spread, few.details["spread_of"]) == (None, "1 split of 99")


def test_inception_score_looks_at_the_generated_images_alone():
    sure, unsure = logits(60 * torch.eye(5).repeat(8, 1)), logits(torch.zeros(40, 5))
    assert value("IS", sure, unsure) == pytest.approx(1)
    assert value("IS", unsure, sure) == pytest.approx(5)


# The rows


def rows_of(real, generated, extractor=None, *, seed=0, held_out=None, **options):
    return score(FeatureSets(real, generated, held_out), extractor or StubExtractor(), seed=seed, **options)


def test_scores_are_functions_of_the_seed_alone():
    a, b = random_features(200, seed=1), random_features(200, seed=2)
    first = rows_of(a, b, seed=7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert rows_of(a, b, seed=7) == first
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    other = rows_of(a, b, seed=2**40 + 8)  # larger than NumPy's seeds
    drawn = {row.name for row, again in zip(first, other, strict=True) if row.value != again.value}
    assert drawn == {"FD infinity", "KID", "IS"}
    assert other[0].interval != first[0].interval


def test_what_is_kept_of_the_real_images_changes_no_score():
    real, held_out = random_features(150, seed=1), random_features(90, seed=2)
    first = FeatureSets(real, random_features(120, seed=3), held_out)
    score(first, StubExtractor(), seed=0)
    other = random_features(120, seed=4, shift=0.5)
    again = score(first.with_generated(other), StubExtractor(), seed=0)
    assert again == rows_of(real, other, held_out=held_out)


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


@pytest.mark.parametrize(("n", "side"), [(80, 8), (70, 18)])  # more images than the 16 features, and fewer than 81
def test_scores_are_those_of_torch_fidelity_from_the_same_images(n, side):
    draw = torch.Generator().manual_seed(3)
    real, generated = (torch.randint(0, high, (n, 3, side, side), generator=draw).byte() for high in (256, 200))
    extractor = PixelSums("pixel-sums", ["wide", "classes"])
    sets = Features(*extractor(real)), Features(*extractor(generated))
    rows = {row.name: row for row in rows_of(*sets, StubExtractor(width=side * side // 4), seed=11)}
    with torch.random.fork_rng(devices=[]):
        expected = torch_fidelity.calculate_metrics(
            input1=Plain(generated),
            input2=Plain(real),
            feature_extractor="pixel-sums",
            cuda=False,
            fid=True,
            kid=True,
            isc=True,
            prc=True,
            prc_neighborhood=5,
            kid_subset_size=n // 2,
            isc_splits=1,
            rng_seed=11,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
        )
    theirs = {
        "FD": "frechet_inception_distance",
        "KID": "kernel_inception_distance_mean",
        "IS": "inception_score_mean",
        "precision": "precision",
        "recall": "recall",
    }
    assert {name: rows[name].value for name in theirs} == pytest.approx(
        {name: expected[key] for name, key in theirs.items()}, rel=1e-6
    )
    assert rows["KID"].spread == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-5)  # of float32
    assert rows["IS"].value > 1.05


HELD_OUT = ["memorization", "KID held-out", "KID memorization gap"]  # rows that need held-out images
ROWS = ["FD", "FD infinity", "KID", "MMD", "IS", "precision", "recall", "density", "coverage", *HELD_OUT]


def test_rows_name_extractor_sizes_and_counts_and_are_json():
    rows = rows_of(random_features(20, seed=1), random_features(30, seed=2), held_out=random_features(10, seed=3))
    assert len(json.loads(json.dumps(scores_json(rows), allow_nan=False))) == len(ROWS)
    assert [r.name for r in rows] == ROWS
    assert [r.label for r in rows] == [f"{name}(stub, 16 px)" for name in ROWS]
    assert [r.better for r in rows] == [*["lower"] * 4, *["higher"] * 5, "none", "lower", "none"]
    for row in rows:
        assert row.group == "samples"
        assert (row.extractor, row.resize, row.weights_hash) == ("stub", 16, "ab" * 32)
        assert (row.n_real, row.n_generated) == (20, 30)
        low, high = row.interval
        assert low <= row.value <= high
    made_of = {row.name: row.interval_of for row in rows}
    shares = {"precision", "recall", "coverage", "memorization"}
    assert {name for name, of in made_of.items() if of == "Wilson's score interval"} == shares
    assert {made_of[name] for name in ROWS if name not in shares} == {"bootstrap, 1000 resamples"}


def test_the_interval_of_the_inception_score_is_that_of_its_ten_splits():
    generated = random_features(130, seed=2)
    (row,) = [row for row in rows_of(random_features(20, seed=1), generated) if row.name == "IS"]
    half = scipy.stats.t.ppf(0.975, 9) * row.spread / 3  # of the deviation with divisor 10
    assert row.interval == pytest.approx((row.value - half, row.value + half), rel=1e-9)
    assert row.interval_of == "t interval over splits"


def test_rows_can_go_without_intervals():
    sets = random_features(20, seed=1), random_features(30, seed=2)
    rows = rows_of(*sets, intervals=False)
    assert {(row.interval, row.interval_of) for row in rows} == {(None, "")}
    assert [row.value for row in rows] == [row.value for row in rows_of(*sets)]


def test_metrics_that_the_sets_do_not_allow_are_left_out():
    names = [r.name for r in rows_of(random_features(70, 40), random_features(79, 40), StubExtractor(width=40))]
    assert names == [name for name in ROWS if name not in ("FD infinity", *HELD_OUT)]


@pytest.mark.parametrize(
    ("extractor", "labels"),
    [
        ("inception", ["FID", "FID infinity", "KID", "MMD", "IS"]),
        ("inception:1a2b3c4d", [f"{name}(stub, 16 px)" for name in ROWS[:5]]),
    ],
)
def test_only_official_inception_is_called_fid(extractor, labels):
    rows = rows_of(random_features(20, seed=1), random_features(20, seed=2), StubExtractor(name=extractor))
    assert [r.label for r in rows][:5] == labels
    assert rows[0].name == ("FID" if extractor == "inception" else "FD")


@pytest.mark.parametrize(
    ("real", "generated", "leader"), [(7, 50, "KID"), (50, 7, "KID"), (8, 8, "FD"), (50, 50, "FD")]
)
def test_kid_leads_below_twice_as_many_images_as_features(real, generated, leader):
    rows = rows_of(random_features(real, seed=1), random_features(generated, seed=2))
    assert [r.name for r in rows if r.lead] == [leader]
    notes = {r.name: r.note for r in rows}
    assert ("biased upward" in notes["FD"]) == ("leads" in notes["KID"]) == (leader == "KID")


def test_rank_deficiency_is_stated():
    rows = rows_of(random_features(70, 70, seed=1), random_features(90, 70, seed=2), StubExtractor(width=70))
    assert "rank-deficient" in rows[0].note
    assert "70 images for 70 features" in rows[0].note


def test_too_few_images_for_the_features_offer_a_narrower_layer():
    sets = random_features(40, 70, seed=1), random_features(90, 70, seed=2)
    with pytest.raises(UserError, match=r"40 images for 70 features: .*; take more images$"):
        rows_of(*sets, StubExtractor(width=70))
    narrow = StubExtractor(width=70)
    narrow.narrower = ("stub/24", "stub/8")
    with pytest.raises(UserError, match=r"; take more images, or a narrower layer: stub/24, stub/8$") as caught:
        rows_of(*sets, narrow)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("which", ["features", "logits"])
@pytest.mark.parametrize("side", ["real", "generated", "held-out"])
def test_features_that_are_not_finite_name_the_image(which, side):
    sets = {name: random_features(9, seed=1) for name in ("real", "generated", "held-out")}
    getattr(sets[side], which)[5, 1] = float("nan")
    with pytest.raises(UserError, match=f"{side} features are not finite for image 5 ") as caught:
        rows_of(sets["real"], sets["generated"], held_out=sets["held-out"])
    assert "\n" not in str(caught.value)


def test_fewer_images_than_neighbours_are_refused():
    with pytest.raises(UserError, match=r"5 generated images.*at least 6"):
        rows_of(random_features(9), random_features(5))
    assert rows_of(random_features(6), random_features(6, seed=1))


def test_features_of_another_extractor_are_refused():
    with pytest.raises(ValueError, match="generated features are 6 wide"):
        rows_of(random_features(9), random_features(9, width=6))
