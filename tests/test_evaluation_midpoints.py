"""The middles of paths: perceptual length of paths that are known, realism beside the ends, pairs of few latents."""

from __future__ import annotations

import math

import pytest
import torch

from bench.contract.images import from_uint8, to_uint8
from bench.errors import NotFiniteError
from bench.evaluation.interpolation import interpolate
from bench.evaluation.midpoints import LENGTH, STEP, pairs
from bench.metrics import METRICS, FeatureSets
from bench.metrics.kid_held_out import held_out_distance
from bench.metrics.neighbours import nearest
from bench.metrics.paths import diversity, perceptual_length
from tests.evaluation_builders import Scaled, by_name, bytes_of, config, data, evaluator, real


def test_diversity_is_the_mean_squared_distance_of_different_images():
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double()
    squares = torch.cdist(x, x).square()
    assert diversity(x) == pytest.approx(float(squares.sum() / (9 * 8)))
    assert diversity(x[:1].expand(5, -1)) == 0


def test_a_straight_line_at_an_even_pace_has_length_one_and_unrelated_points_that_of_the_step():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20_000, 3, generator=generator).double()
    t, step = 0.4, 0.02
    line = perceptual_length(a + t * (b - a), a + (t + step) * (b - a), step, diversity(a))
    assert float(line.mean()) == pytest.approx(1, rel=0.03)
    assert float(perceptual_length(a, b, step, diversity(a)).mean()) == pytest.approx(1 / step**2, rel=0.03)


def test_perceptual_length_refuses_what_it_cannot_measure():
    x = torch.zeros(3, 2)
    for arguments in ((x, x[:2], 0.1, 1.0), (x[0], x[0], 0.1, 1.0), (x, x, 0.0, 1.0), (x, x, 0.1, 0.0)):
        with pytest.raises(ValueError, match=r"must be|not \(n, width\) twice"):
            perceptual_length(*arguments)
    with pytest.raises(NotFiniteError):
        perceptual_length(x / 0, x, 0.1, 1.0)
    for few in (x[:1], x[0]):
        with pytest.raises(ValueError, match="two images"):
            diversity(few)
    with pytest.raises(NotFiniteError):
        diversity(x / 0)


def test_perceptual_length_of_a_linear_model():
    """Normal latents on a quarter circle, linear features: a step is 2 s^2 (1 - cos) long, a diversity 2 s^2.

    Two roundings to 8 bits add twice a twelfth of a level's square.
    """
    entries, _ = interpolate(Scaled(0.25, normal=True), from_uint8(bytes_of(20, 4)), real(), config(midpoints=400), 0)
    one = by_name(entries)[LENGTH]
    turn = STEP * math.pi / 2
    rounding = (2 / 255) ** 2 / 12 / 0.25**2
    assert one.value == pytest.approx((1 - math.cos(turn) + rounding) / STEP**2, rel=0.02)
    assert one.interval[0] < one.value < one.interval[1]
    assert (one.better, one.n, one.spread_of) == ("lower", 400, "400 paths")
    assert f"{LENGTH}, real ends" not in by_name(entries)


def test_images_that_are_all_alike_have_no_perceptual_length():
    entries, _ = interpolate(Scaled(0.0), from_uint8(bytes_of(20, 4)), real(), config(midpoints=8), 0)
    assert LENGTH not in by_name(entries)
    assert "midpoint KID" in by_name(entries)


class Bright(Scaled):
    """Images that are brighter than the real ones."""

    def decode(self, latents):
        return (super().decode(latents) + 0.4).clamp(-1, 1)


def test_midpoints_between_draws_are_scored_as_samples_are():
    """On the prior's path a midpoint is a draw of the prior: its KID is that of samples, and is not ranked again."""
    made, held_out = Bright(0.3, normal=True), from_uint8(bytes_of(20, 4))
    scored = by_name(interpolate(made, held_out, real(), config(midpoints=600), 0)[0])
    samples = by_name(evaluator(samples=600, real=128).evaluate(made, (0,)).scores)
    assert scored["midpoint KID"].value == pytest.approx(samples["KID"].value, rel=0.1)
    assert scored["midpoint KID"].better == scored["ends KID"].better == "none"
    assert scored["midpoint KID"].n == 600
    assert scored["ends KID"].n == 8
    assert scored["ends KID"].value == pytest.approx(samples["KID"].value, rel=0.5)


def test_midpoints_between_images_are_ranked_and_pair_all_latents():
    model, held_out, r = Scaled(1.0, normal=True), from_uint8(bytes_of(20, 4)), real()
    scored = by_name(interpolate(model, held_out, r, config(paths=4, midpoints=20), 0)[0])
    one = scored["midpoint KID, real ends"]
    assert (one.better, one.n, one.note) == ("lower", 20, "20 pairs of 8 images")
    i, j = pairs(8, 20)
    middle = model.decode(model.mix_latents(held_out[i], held_out[j], 0.5))
    features = r.features([middle])
    expected = METRICS["KID"].function(FeatureSets(r.train, features), seed=0).value
    assert one.value == pytest.approx(expected, rel=1e-6)
    distance = scored["midpoint distance, real ends"]
    assert distance.value == pytest.approx(float(nearest(features.features, r.train.features)[1].mean()))
    of_held_out = float(nearest(r.held_out.features, r.train.features)[1].mean())
    assert f"of held-out images {of_held_out:.4g}" in distance.note
    assert scored["ends KID, real ends"].value == pytest.approx(
        METRICS["KID"].function(FeatureSets(r.train, r.features([held_out[:8]])), seed=0).value, abs=1e-3
    )


def test_real_ends_tell_how_far_they_are_from_their_images():
    held_out = from_uint8(bytes_of(20, 4))
    for scale in (1.0, 0.5):
        scored = by_name(interpolate(Scaled(scale, normal=True), held_out, real(), config(paths=4), 0)[0])
        error = scored["ends MSE, real ends"]
        assert error.value == pytest.approx(((1 - scale) ** 2 * held_out[:8].square().mean()).item(), abs=1e-6)
        assert (error.better, error.n) == ("none", 8)
        assert "ends MSE" not in scored


def test_one_pair_has_no_distance_of_sets():
    scored = by_name(interpolate(Scaled(0.5), from_uint8(bytes_of(20, 4)), real(), config(paths=1), 0)[0])
    assert "ends MSE, real ends" in scored
    assert "midpoint KID, real ends" not in scored
    assert "midpoint KID" in scored


@pytest.mark.parametrize(("k", "n"), [(2, 5), (5, 3), (5, 10), (5, 99), (64, 256)])
def test_pairs_differ_and_share_the_latents_evenly(k, n):
    i, j = pairs(k, n)
    found = list(zip(i.tolist(), j.tolist(), strict=True))
    assert len(found) == len(set(found)) == min(n, k * (k - 1) // 2)
    assert all(0 <= a < b < k for a, b in found)
    counts = torch.bincount(torch.cat([i, j]), minlength=k)
    assert int(counts.max()) <= 2 * math.ceil(len(found) / (k - 1))


def test_references_of_midpoints():
    """Noise at every point has a length of 1 / step^2; the blends' midpoints are pixels blended."""
    found = evaluator(data(held_out=20, spare=44), samples=64, midpoints=300).references
    floor, ceiling = (by_name(found[kind].scores) for kind in ("real", "noise"))
    assert ceiling[LENGTH].value == pytest.approx(1 / STEP**2, rel=0.05)
    assert (ceiling[LENGTH].made_of, floor[LENGTH].made_of) == ("independent noise", "real, pixels blended")
    x, r = from_uint8(bytes_of(20, 1)), real()
    i, j = pairs(20, 300)
    blended = r.features([(x[i] + x[j]) / 2])
    for name in ("midpoint KID", "midpoint KID, real ends"):
        expected = METRICS["KID"].function(FeatureSets(r.train, blended), seed=0).value
        assert floor[name].value == pytest.approx(expected, rel=0.02)
        assert floor[name].n == 190
    assert held_out_distance(FeatureSets(r.train, blended, r.held_out)) is not None
    assert to_uint8(x).equal(bytes_of(20, 1))
