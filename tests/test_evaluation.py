"""The evaluation as a whole: evaluation seeds, references, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.contract.images import from_uint8
from bench.contract.scores import Score
from bench.errors import NotFiniteError, UserError
from bench.evaluation import pictures
from bench.evaluation.entries import merged
from bench.results.schema import GROUPS
from tests.builders import trainer
from tests.evaluation_builders import SHAPE, Scaled, by_name, bytes_of, data, evaluator


def test_scores_are_means_over_evaluation_seeds():
    both = evaluator().evaluate(Scaled(), (3, 5))
    alone = [evaluator().evaluate(Scaled(), (seed,)) for seed in (3, 5)]
    first, second = (by_name(one.scores) for one in alone)
    for one in both.scores:
        expected = first[one.name].value, second[one.name].value
        assert one.per_seed == expected, one.name
        assert one.value == pytest.approx(sum(expected) / 2)
        if one.interval:  # around the mean, from the first seed's
            alone_low, alone_high = first[one.name].interval
            shrink = 2**0.5 if one.group == "samples" else 1  # held-out images are the same for both seeds
            low, high = (one.value - one.interval[0], one.interval[1] - one.value)
            least, most = one.within
            assert low == pytest.approx(min((expected[0] - alone_low) / shrink, one.value - least), rel=1e-6, abs=1e-12)
            assert high == pytest.approx(
                min((alone_high - expected[0]) / shrink, most - one.value), rel=1e-6, abs=1e-12
            )
    assert both.curves == alone[0].curves
    assert torch.equal(both.pictures["samples"].image, alone[0].pictures["samples"].image)
    groups = [one.group for one in both.scores]
    assert groups == sorted(groups, key=GROUPS.index)
    assert not any(one.group == "diagnostics" for one in both.scores)  # the model has none


def test_a_score_that_one_seed_lacks_is_left_out():
    one = Score("a", "a", "interpolation", 1.0, "lower")
    assert [m.name for m in merged([[one, replace(one, name="b")], [one]])] == ["a"]


def test_an_interval_holds_its_score_where_rounding_takes_it_out_of_range():
    one = Score("IS", "IS", "samples", 1 - 1e-16, "higher", interval=(1 - 2e-16, 1.0), within=(1.0, 10.0))
    (found,) = merged([[one]])
    assert found.interval[0] <= found.value <= found.interval[1]


def test_references_of_noise_among_noise():
    """Where the data are themselves uniform noise, floor and ceiling agree."""
    found = evaluator(data(held_out=20, spare=44), samples=64).references
    floor, ceiling = (by_name(found[kind].scores) for kind in ("real", "noise"))
    assert floor["FD"].n_generated == ceiling["FD"].n_generated == 64
    intervals = [scores["KID"].interval for scores in (floor, ceiling)]
    assert max(low for low, _ in intervals) < min(high for _, high in intervals)
    assert floor["FD"].value == pytest.approx(ceiling["FD"].value, rel=0.3)
    assert floor["second difference"].value == pytest.approx(0, abs=1e-5)
    x, mean = from_uint8(data().held_out), from_uint8(data().train).double().mean(0)
    assert ceiling["MSE"].value == pytest.approx((x - mean).square().mean().item(), rel=1e-5)


def test_nearest_pairs_are_the_nearest_first():
    train, made = bytes_of(40, 0), bytes_of(30, 1)
    made[7] = train[11]
    distance = torch.arange(30.0).flip(0)
    distance[7] = 0
    index = torch.zeros(30, dtype=torch.long)
    index[7] = 11
    picture = pictures.nearest_pairs(made, train, index, distance)
    assert (picture.rows, picture.columns) == (4, 8)
    assert picture.labels == ("generated", "nearest in training") * 4
    assert torch.equal(picture.image[:, :8, :8], picture.image[:, :8, 8:16])
    assert torch.equal(picture.image[:, :8, 16:24], made[29])
    assert torch.equal(picture.image[:, :8, 24:32], train[0])


def test_an_ebm_has_all_there_is():
    result = evaluator(sweep_samples=64, sweep=(0.5, 1.0)).evaluate(trainer("ebm").model, (0,))
    assert {one.group for one in result.scores} == set(GROUPS)
    assert {"energy gap", "gradient norm", "moment mismatch", "OOD AUROC (noise)"} <= by_name(result.scores).keys()
    assert by_name(result.curves).keys() == {
        *("MSE by decodes", "MSE by latent dimensions", "KID by Langevin steps", "FD by Langevin steps"),
        *("gradient norm by step", "energy by step", "gradient norm over a long run", "energy over a long run"),
        *("displacement by layer", "cosine by layer", "noise share by layer"),
    }


def test_wrong_shape_range_and_values_are_refused():
    class Wide(Scaled):
        def sample(self, n, generator):
            return 3 * self.sample_latents(n, generator)

    class Flat(Scaled):
        def sample(self, n, generator):
            return self.sample_latents(n, generator)[:, :, :4]

    class Broken(Scaled):
        def sample(self, n, generator):
            return torch.full((n, *SHAPE), torch.nan)

    with pytest.raises(UserError, match=r"magnitude .* in \[-1, 1\]"):
        evaluator().evaluate(Wide(), (0,))
    with pytest.raises(UserError, match=r"shape \(1, 4, 8\), not \(1, 8, 8\)"):
        evaluator().evaluate(Flat(), (0,))
    with pytest.raises(NotFiniteError):
        evaluator().evaluate(Broken(), (0,))


def test_too_few_images_are_refused_at_once():
    with pytest.raises(UserError, match="blobs: scores against 10 training images"):
        evaluator(data(train=10))
