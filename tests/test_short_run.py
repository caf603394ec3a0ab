"""The short-run model and its trainer: inversion gradients, annealing, penalties, averages, divergence."""

from __future__ import annotations

import math

import pytest
import torch

from bench.contract.seeds import seeded
from bench.errors import NotFiniteError
from ebm.energy import ENERGY_NETS
from ebm.short_run import pull_back
from tests.builders import energy_net, images, short_run, trainer


def unrolled(model, z):
    """M(z) with the graph of the whole chain kept: the textbook way, memory grows with K."""
    x = z
    for _ in range(model.settings.steps):
        (gradient,) = torch.autograd.grad(model.energy(x).sum(), x, create_graph=True)
        x = x - model.settings.step_size * gradient
    return x


def double_backward(model, z, target):
    z = z.clone().requires_grad_()
    end = unrolled(model, z)
    (gradient,) = torch.autograd.grad((target - end).square().sum(), z)
    return end.detach(), gradient


@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
def test_exact_shortcut_equals_double_backward(net):
    """For a piecewise-linear energy dM/dz = I, so the gradient is 2 (M(z) - x)."""
    model = short_run(energy_net(net, 1, 8, 6).double(), (1, 8, 8), steps=7, noise_std=0.0, step_size=3.0)
    z, target = images(4).double(), images(4, seed=1).double()
    end, gradient = double_backward(model, z, target)
    torch.testing.assert_close(model.chain(z), end)
    torch.testing.assert_close(2 * (model.chain(z) - target), gradient)
    assert (end - z).abs().max() > 1e-3  # the chain does move


@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
@pytest.mark.parametrize("steps", [1, 2, 7, 9, 10])
def test_smooth_pull_back_equals_double_backward(net, steps):
    model = short_run(energy_net(net, 1, 8, 6, "silu").double(), (1, 8, 8), steps=steps, step_size=5.0)
    z, target = images(3).double(), images(3, seed=1).double()
    end, gradient = double_backward(model, z, target)
    pulled_end, pulled = pull_back(model, z, lambda end: 2 * (end - target))
    torch.testing.assert_close(pulled_end, end)
    torch.testing.assert_close(pulled, gradient)
    # so smooth an energy must differ from the shortcut, or the test would show nothing
    assert (gradient - 2 * (end - target)).abs().max() > 1e-6


def test_smooth_reconstruction_descends():
    model, x = short_run(energy_net("plain", 1, 8, 4, "silu"), (1, 8, 8)), images(3)
    errors = [(model.reconstruct(x, budget, seeded("r")) - x).square().mean() for budget in (1, 10)]
    assert errors[1] < 0.2 * errors[0]


def test_settings_fall_linearly_after_their_start():
    t = trainer("ebm", updates=100, anneal_from=0.5, lr=1.0, lr_final=0.0)
    expected = {0: 1.0, 50: 1.0, 75: 0.5, 100: 0.0}
    for update, value in expected.items():
        t.updates = update
        assert t.annealed(t.config.lr, t.config.lr_final) == pytest.approx(value)


def test_loss_is_the_paper_s_for_one_step():
    """The weights' gradient of mean E(data) - mean E(chain end), with Adam's first step a sign step of size lr."""
    settings = {"sigma": 0.0, "sigma_final": 0.0, "lr": 1e-3, "lr_final": 1e-3, "steps": 3}
    t, reference = trainer("ebm", **settings), trainer("ebm", **settings)
    x = images(8)
    generator = seeded("step")
    end = reference.model.chain(reference.model.sample_latents(8, generator), generator)
    loss = reference.model.energy(x).mean() - reference.model.energy(end).mean()
    gradients = torch.autograd.grad(loss, list(reference.model.parameters()))
    scalars = t.step(x, seeded("step"))
    assert scalars["energy gap"] == pytest.approx(-loss.item(), abs=1e-6)
    for now, before, gradient in zip(t.model.parameters(), reference.model.parameters(), gradients, strict=True):
        clear = gradient.abs() > 1e-4
        torch.testing.assert_close((now - before)[clear], -1e-3 * gradient[clear].sign(), rtol=1e-2, atol=1e-6)


def test_penalty_pulls_energies_towards_zero():
    rms = {}
    for penalty in (0.0, 10.0):
        t = trainer("ebm", energy_penalty=penalty, updates=60, lr=3e-3, lr_final=3e-3)
        for update in range(60):
            scalars = t.step(images(8).abs(), seeded("step", update))
        rms[penalty] = scalars["energy rms"]
    assert rms[10.0] < 0.5 * rms[0.0]


def test_average_follows_the_learner():
    t = trainer("ebm", ema=0.5)
    first = [p.clone() for p in t.model.parameters()]
    mean = first
    for update in range(3):
        t.step(images(8, seed=update), seeded("step", update))
        decay = min(0.5, t.updates / (t.updates + 10))
        now = list(t.learner.parameters())
        mean = [decay * m + (1 - decay) * p for m, p in zip(mean, now, strict=True)]
    for a, b in zip(t.model.parameters(), mean, strict=True):
        torch.testing.assert_close(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(t.model.parameters(), t.learner.parameters(), strict=True))


def test_a_chain_that_explodes_names_its_step():
    class Quadratic(torch.nn.Module):
        def forward(self, x):
            return x.square().flatten(1).sum(1) / 2

    model = short_run(Quadratic(), (1, 8, 8), steps=5, step_size=1e30)
    with pytest.raises(NotFiniteError, match="not finite from step 2 of 5 on"):
        model.decode(images(3))


def test_too_large_a_step_is_reported_not_hidden():
    t = trainer("ebm", step_size=1e30, steps=5)
    scalars = t.step(images(8), seeded("step"))
    assert not all(math.isfinite(v) for v in scalars.values())
