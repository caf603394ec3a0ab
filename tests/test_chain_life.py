"""What happens inside a chain: long runs, the residual view and moment matching, against chains that are known."""

from __future__ import annotations

import math

import pytest
import torch

from bench.contract.images import from_uint8, to_uint8
from bench.contract.scores import Diagnostics, description
from bench.contract.seeds import seeded
from bench.errors import NotFiniteError
from bench.evaluation import diagnostics, pictures
from ebm.diagnostics import (
    LONG,
    log_spaced,
    long_curves,
    mismatch_score,
    moment_mismatch,
    moments,
    moments_gap,
    relative_distance,
    residual_curves,
)
from ebm.energy import ENERGY_NETS
from ebm.langevin import ChainSettings
from tests.builders import energy_net, images, short_run
from tests.evaluation_builders import Scaled, bytes_of

SHAPE = (1, 8, 8)
PIXELS = 64


def quadratic(x):
    """E(x) = |x|^2 / 2: dE/dx = x."""
    return x.square().flatten(1).sum(1) / 2


def flat(x):
    return 0 * x.flatten(1).sum(1)


def by_name(curves):
    return {curve.name: curve for curve in curves}


# --- the residual view ---


def test_a_noise_free_chain_on_a_quadratic_goes_straight():
    """Every layer moves along -x_0, by half as much as the one before."""
    x = images(6)
    found = by_name(residual_curves(quadratic, x, ChainSettings(5, 0.5, 0.0), seeded("chain")))
    assert found["displacement by layer"].x == (1, 2, 3, 4, 5)
    first = x.flatten(1).norm(dim=1).mean().item()
    assert found["displacement by layer"].y == pytest.approx([first / 2**k for k in range(1, 6)], rel=1e-5)
    assert found["cosine by layer"].y == pytest.approx([1.0] * 5, abs=1e-5)
    assert found["noise share by layer"].y == pytest.approx([0.0] * 5, abs=1e-9)


def test_a_chain_of_noise_alone_is_a_random_walk():
    """Without a gradient a step of K has the cosine 1 / sqrt(K) with the whole way, and the noise is all of it."""
    steps, std = 16, 0.1
    found = by_name(residual_curves(flat, images(64), ChainSettings(steps, 1.0, std), seeded("chain")))
    assert found["noise share by layer"].y == pytest.approx([1.0] * steps)
    assert found["displacement by layer"].y == pytest.approx([std * math.sqrt(PIXELS - 0.5)] * steps, rel=0.03)
    assert found["cosine by layer"].y == pytest.approx([1 / math.sqrt(steps)] * steps, abs=0.06)


def test_the_noise_share_is_of_squared_lengths():
    x, std = images(64), 0.2
    found = by_name(residual_curves(quadratic, x, ChainSettings(3, 0.3, std), seeded("chain")))
    drift = 0.09 * x.square().flatten(1).sum(1).mean().item()
    noise = std**2 * PIXELS
    assert found["noise share by layer"].y[0] == pytest.approx(noise / (noise + drift), rel=0.03)


def test_large_images_are_followed_in_fewer_chains(monkeypatch):
    monkeypatch.setattr("ebm.diagnostics.MOST_STATES", 4 * PIXELS * 2)  # two chains of three steps
    settings = ChainSettings(3, 0.5, 0.0)
    few, two = (residual_curves(quadratic, x, settings, seeded("chain")) for x in (images(6), images(6)[:2]))
    assert few == two


# --- long runs ---


def test_a_long_run_on_a_quadratic_decays_to_the_end():
    x = images(4)
    settings = ChainSettings(2, 0.01, 0.0)
    found = by_name(long_curves(quadratic, x, settings, seeded("chain")))
    norms, energies = found["gradient norm over a long run"], found["energy over a long run"]
    assert (norms.x[0], norms.x[-1], norms.mark, norms.log_x) == (1, 2 * LONG, 2, True)
    first, start = x.flatten(1).norm(dim=1).mean().item(), quadratic(x).mean().item()
    assert norms.y == pytest.approx([first * 0.99**k for k in norms.x], rel=1e-4)
    assert energies.y == pytest.approx([start * 0.99 ** (2 * k) for k in norms.x], rel=1e-4)


def test_a_long_run_ends_where_the_numbers_do():
    settings = ChainSettings(2, 1e3, 0.0)
    for curve in long_curves(quadratic, images(2), settings, seeded("chain")):
        assert 1 <= curve.x[-1] < 20
        assert all(math.isfinite(y) for y in curve.y)


@pytest.mark.parametrize("last", [1, 2, 100, 2000, 10000])
def test_log_spaced_steps_rise_from_one_to_the_last(last):
    steps = log_spaced(last)
    assert (steps[0], steps[-1]) == (1, last)
    assert steps == sorted(set(steps))
    assert len(steps) <= 60


def diagnosed(model, n=5, *, far, train=None, samples=None):
    train = images(4) if train is None else train
    return model.diagnose(n, seeded("diagnose"), train=train, samples=lambda: samples or images(2), far=far)


def test_a_model_s_diagnostics_have_every_score_and_curve():
    model = short_run(energy_net("plain", 1, 8), SHAPE, steps=3)
    near, far = (diagnosed(model, far=far) for far in (False, True))
    along = {"gradient norm by step", "energy by step"}
    layers = {"displacement by layer", "cosine by layer", "noise share by layer"}
    assert set(by_name(near.curves)) == along | layers
    assert set(by_name(far.curves)) == {*along, *layers, "gradient norm over a long run", "energy over a long run"}
    assert far.curves[:5] == near.curves
    assert [one.name for one in far.scores] == ["gradient norm", "moment mismatch"]
    assert far.scores == near.scores
    assert all(one.group == "diagnostics" for one in (*far.scores, *far.curves))
    figures = [panel for curve in far.curves for panel in curve.figures.items()]
    assert len(set(figures)) == len(figures)  # no two panels of a figure have one title
    assert {key for key, _ in figures} == {"gradient-norm", "long-chain", "residual-view"}


def test_the_gradient_norm_is_the_mean_over_the_steps_of_a_sample():
    model = short_run(energy_net("plain", 1, 8), SHAPE, steps=3)
    found = diagnosed(model, far=False)
    norms = found.curves[0]
    assert (len(norms.y), norms.mark) == (30, 3)
    assert found.scores[0].value == pytest.approx(sum(norms.y[:3]) / 3)
    assert found.scores[0].note == "mean over 3 steps of 5 chains"


def test_the_picture_of_long_chains_shows_the_same_chains_further_on():
    model = short_run(energy_net("plain", 1, 8), SHAPE, steps=3)
    picture = pictures.long_chain(model, 5)["long-chain"]
    assert (picture.rows, picture.columns, picture.labels) == (pictures.STRIPS, 4, ("0", "3", "30", "300"))
    tiles = picture.image.view(1, pictures.STRIPS, 8, 4, 8).permute(3, 1, 0, 2, 4)  # column, row, C, H, W
    for factor, shown in ((1, 1), (10, 2), (100, 3)):
        ends = model.at_compute(factor).sample(pictures.STRIPS, seeded(5, "chain"))
        assert torch.equal(tiles[shown], to_uint8(ends)), factor
    assert torch.equal(tiles[0], to_uint8(model.sample_latents(pictures.STRIPS, seeded(5, "chain"))))


def test_chains_that_explode_are_shown_as_far_as_they_are_finite():
    model = short_run(energy_net("plain", 1, 8), SHAPE, steps=3)
    lengths = []

    def at_compute(factor):
        other = type(model)(model.energy, SHAPE, ChainSettings(3 * factor, 1.0, 0.01), inversion_rate=0.5)
        original, refuse = other.trajectory, factor in exploding

        def trajectory(n, generator, frames):
            lengths.append(factor)
            if refuse:
                raise NotFiniteError("the chain is not finite")
            return original(n, generator, frames)

        other.trajectory = trajectory
        return other

    model.at_compute = at_compute
    exploding = {100}
    assert pictures.long_chain(model, 0)["long-chain"].labels == ("0", "3", "30")
    exploding = {100, 10}
    assert pictures.long_chain(model, 0) == {}
    assert lengths == [100, 10, 100, 10]
    assert pictures.long_chain(Scaled(), 0) == {}


# --- moment matching ---


@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
def test_moments_are_the_weight_gradient_of_the_mean_energy(net):
    energy, x = energy_net(net, 1, 8), images(150)
    expected = torch.autograd.grad(energy(x).mean(), list(energy.parameters()))
    found = moments(energy, x)
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in expected]), rtol=1e-4, atol=1e-6)
    assert not found.requires_grad
    assert all(p.grad is None for p in energy.parameters())


def test_the_mismatch_is_what_learning_descends():
    """Its numerator is the length of the loss's gradient without the penalty."""
    energy, data, chain = energy_net("plain", 1, 8), images(8), images(8, seed=1) * 0.3
    loss = energy(data).mean() - energy(chain).mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(energy.parameters()))])
    scale = 0.5 * (moments(energy, data).norm() + moments(energy, chain).norm())
    torch.testing.assert_close(moment_mismatch(energy, data, chain), gradient.norm() / scale, rtol=1e-4, atol=0)
    with torch.no_grad():
        assert moment_mismatch(energy, data, data) == 0
        assert not torch.is_grad_enabled()


def test_relative_distance_runs_from_0_to_2():
    a = torch.tensor([3.0, 4.0])
    assert [relative_distance(a, b).item() for b in (a, -a, 0 * a)] == [0, 2, 2]
    assert relative_distance(a, 3 * a).item() == 1


@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
def test_the_gap_is_the_mismatch_of_the_last_layer(net):
    energy, data, chain = energy_net(net, 1, 8), images(8), images(8, seed=1) * 0.3
    sides = [torch.autograd.grad(energy(x).mean(), [energy.head.weight])[0].flatten() for x in (data, chain)]
    h = energy.features(torch.cat([data, chain]))
    gap = moments_gap(h[:8], h[8:])
    torch.testing.assert_close(gap, relative_distance(*sides), rtol=1e-4, atol=1e-6)
    assert not gap.requires_grad
    assert gap > 0.01


def test_the_mismatch_is_of_samples_and_half_of_the_images_beside_that_of_the_halves():
    energy = energy_net("plain", 1, 8)
    train, samples = images(20), 0.3 * images(10, seed=1)
    score = mismatch_score(energy, train, samples)
    assert score.value == pytest.approx(moment_mismatch(energy, train[:10], samples).item())
    halves = moment_mismatch(energy, train[:10], train[10:]).item()
    assert score.note.endswith(f"10 training images against 10 samples; two halves of the images: {halves:.3g}")


def test_a_model_is_given_images_and_the_samples_that_are_scored():
    """A model that tells brightness apart: samples are as bright as the second half of the images, not as the first."""

    class Bright(Scaled):
        def sample(self, n, generator):
            return torch.full((n, *SHAPE), 0.5)

        def diagnose(self, n, generator, *, train, samples, far):
            first, second = train.chunk(2)
            assert len(first) == len(second) == len(samples()) == 10
            assert generator.initial_seed() == seeded(0, "profile").initial_seed()
            return Diagnostics((description("gap", abs(float(first.mean() - samples().mean()))),))

    train = torch.cat([bytes_of(10, 0) * 0, bytes_of(10, 0) * 0 + 255])
    (found,) = diagnostics.diagnose(Bright(), bytes_of(4, 1), {}, 30, 0, train=train).scores
    assert found.value == pytest.approx(1.5)
    assert from_uint8(train).mean() == 0
    assert diagnostics.diagnose(Scaled(), bytes_of(4, 1), {}, 30, 0, train=train) == Diagnostics()
