"""What no model made: real images at the models' counts or at fewer, corrupted ones, what equal sets would score."""

from __future__ import annotations

import pytest
import torch

from bench.evaluation import counts
from bench.evaluation.corruptions import BLUR, NOISE, blends, blurred, constants, noised
from bench.evaluation.counts import Counts
from bench.features import Features
from bench.metrics import METRICS, FeatureSets
from bench.metrics.coverage import expected_coverage
from tests.evaluation_builders import Scaled, by_name, config, data, evaluator


@pytest.mark.parametrize(
    ("images", "settings", "models", "references"),
    [
        ({"train": 128, "held_out": 20, "spare": 44}, {}, (64, 128), (64, 128)),  # enough that no one trained on
        ({"train": 128, "held_out": 20}, {"real": 80}, (64, 80), (64, 80)),  # training images beyond the first 80
        ({"train": 128, "held_out": 20, "spare": 10}, {}, (64, 128), (64, 94)),  # all others
        ({"train": 1498, "held_out": 299}, {"samples": 1000}, (1000, 1498), (1000, 797)),  # the digits
        ({"train": 80, "held_out": 10}, {"samples": 500}, (500, 80), (60, 30)),  # two thirds of all
    ],
)
def test_counts(images, settings, models, references):
    found = data(**images), config(**settings)
    assert counts.of_models(*found) == Counts(*models)
    assert counts.of_references(*found) == Counts(*references)


def test_where_real_images_are_too_few_every_row_is_scored_again_at_their_counts():
    few = evaluator(data(held_out=20, spare=10), samples=64)
    scores = few.evaluate(Scaled(), (0, 1)).scores
    references = few.references
    rows = [scores, *(one.scores for one in references.values())]
    equal = [[one for one in row if one.table == counts.EQUAL] for row in rows]
    assert {(one.n_generated, one.n_real) for row in equal for one in row} == {(64, 94)}
    assert [one.name for one in equal[0]] == [
        f"{name} at equal counts"
        for name in ("FD", "FD infinity", "MMD", "IS", "precision", "recall", "density", "coverage")
    ]
    assert equal[0][0].label == "FD(pixels, 8 px) at equal counts"
    assert [[one.name for one in row] for row in equal[3:]] == [[one.name for one in equal[0]]] * 3
    others = [[one for one in row if one.table != counts.EQUAL and one.n_generated] for row in rows]
    assert {(one.n_generated, one.n_real) for one in [*others[0], *others[2], *others[5]]} == {(64, 128)}
    assert [one.name for one in others[1]] == ["KID"]  # whose expectation is the same at any counts
    assert (others[1][0].n_generated, others[1][0].n_real) == (64, 94)
    assert references["real"].title == "real, re-split"
    assert "64 real images against 94 others, as only 30 are not for training" in others[1][0].note
    assert not any(one.lead or "leads" in one.note for row in [*rows[1:], equal[0]] for one in row)
    assert sum(one.lead for one in scores) == 1


def test_the_re_split_shares_no_image():
    """A training image on both sides would have a distance of 0 to the reals."""
    few = evaluator(data(held_out=20, spare=10), samples=64)
    images = torch.cat([few.data.held_out, few.data.spare, few.data.train[94:]])
    floor = by_name(few.references["real"].scores)
    sets = FeatureSets(few.real.train.first(94), few.real.features([images.float() / 127.5 - 1]))
    assert floor["FD at equal counts"].value == pytest.approx(METRICS["FD"].function(sets, seed=0).value)
    assert len(images) == 64


def test_scores_at_the_samples_own_counts_are_what_they_were():
    """With real images to spare nothing is scored twice, and no count changes what a model scores."""
    few, many = (evaluator(data(held_out=20, spare=spare), samples=64) for spare in (10, 44))
    less, more = (by_name(one.evaluate(Scaled(), (0,)).scores) for one in (few, many))
    assert not any(one.table == counts.EQUAL for one in more.values())
    assert all(less[name].value == more[name].value for name in more)
    assert many.references["real"].title == "real, held out"
    assert not any(one.note.count("others") for one in many.references["real"].scores)


def test_images_made_elsewhere_are_scored_at_both_counts():
    few = evaluator(data(held_out=20, spare=10), samples=64)
    scores, references, _ = few.evaluate_images(lambda seed: data(train=64).train, (0,))
    assert {one.table for one in scores} == {"samples", "variety", counts.EQUAL}
    assert set(references) == {"real", "expected", "blurred", "noised", "noise"}


def test_expected_of_equal_distributions():
    found = by_name(evaluator(data(held_out=20, spare=10), samples=64).references["expected"].scores)
    assert found["coverage"].value == expected_coverage(128, 64)
    assert found["coverage at equal counts"].value == expected_coverage(94, 64)
    assert (found["density"].value, found["KID"].value, found["MMD"].value, found["memorization"].value) == (
        1,
        0,
        0,
        0.5,
    )
    assert not {"FD", "IS", "precision", "recall"} & found.keys()
    assert all(one.interval is None and not one.note for one in found.values())


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.of_equal])
def test_the_mean_over_equal_sets_is_what_is_expected(name):
    generator, values = torch.Generator().manual_seed(0), []
    for seed in range(60):
        real, made, unseen = (Features(torch.randn(n, 3, generator=generator), torch.zeros(n, 0)) for n in (40, 30, 20))
        values.append(METRICS[name].function(FeatureSets(real, made, unseen), seed=seed).value)
    found = torch.tensor(values)
    expected = METRICS[name].of_equal(40, 30)
    assert abs(float(found.mean()) - expected) < 3 * float(found.std()) / len(values) ** 0.5


def test_blurring_a_point_gives_the_gaussian():
    side = 32
    point = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    point[:, :, 16, 16] = 255
    deviation = BLUR * side
    weights = torch.exp(-((torch.arange(side) - 16.0) ** 2) / (2 * deviation**2))
    expected = 255 * torch.outer(weights, weights) / weights.sum() ** 2
    assert float((blurred(point)[0, 1] - expected).abs().max()) <= 1
    flat = torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(blurred(flat), flat)
    assert blurred(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)).shape == (1, 1, 2, 2)


def test_noise_blends_and_constants():
    grey = torch.full((50, 1, 16, 16), 128, dtype=torch.uint8)
    spoilt = noised(grey).float() - 128
    assert float(spoilt.mean()) == pytest.approx(0, abs=2)
    assert float(spoilt.std()) == pytest.approx(NOISE, rel=0.05)  # a twentieth of it is cut off
    assert torch.equal(noised(grey), noised(grey))
    four = torch.tensor([0, 100, 200, 50], dtype=torch.uint8).view(4, 1, 1, 1)
    assert blends(four).flatten().tolist() == [50, 150, 125, 25]
    plain = constants(300, (3, 4, 5))
    assert plain.shape == (300, 3, 4, 5)
    assert torch.equal(plain, plain[:, :, :1, :1].expand_as(plain))
    assert plain.float().mean() == pytest.approx(127.5, abs=10)
