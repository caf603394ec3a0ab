"""The sampler against the equation, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.contract.seeds import seeded
from ebm.energy import ENERGY_NETS
from ebm.langevin import ChainSettings, draw_normal_, langevin
from ebm.reference import energy_gradient
from tests.builders import energy_net

SHAPE = (5, 2, 4, 4)


def quadratic(x):
    """E(x) = |x|^2 / 2: dE/dx = x."""
    return x.square().flatten(1).sum(1) / 2


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(1, 12), step_size=st.floats(0.01, 1.5))
def test_noise_free_chain_on_a_quadratic_is_geometric(steps, step_size):
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(quadratic, x, ChainSettings(steps, step_size, 0.0))
    torch.testing.assert_close(end, (1 - step_size) ** steps * x, rtol=1e-4, atol=1e-6)


def test_two_noisy_steps_by_hand():
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(quadratic, x, ChainSettings(2, 0.25, 0.1), generator=seeded("noise"))
    noise, eps = seeded("noise"), torch.empty_like(x, memory_format=torch.channels_last)
    first = 0.75 * x + 0.1 * draw_normal_(eps, noise)
    torch.testing.assert_close(end, 0.75 * first + 0.1 * draw_normal_(eps, noise))


def test_textbook_chain_reaches_the_stationary_variance():
    """x <- (1 - s) x + sqrt(2 s) eps has variance 2 s / (1 - (1 - s)^2) = 1 / (1 - s / 2) exactly."""
    s = 0.2
    x = torch.zeros(4000, 1, 4, 4)
    end = langevin(quadratic, x, ChainSettings(60, s, math.sqrt(2 * s)), generator=seeded("chain"))
    n = end.numel()
    expected = 1 / (1 - s / 2)
    assert abs(end.var().item() - expected) < 5 * expected * math.sqrt(2 / n)
    assert abs(end.mean().item()) < 5 * math.sqrt(expected / n)


def test_caller_is_left_as_it_was():
    """Start, gradient mode and the weights' need of gradients are untouched, even under no_grad."""
    net = energy_net("plain", 1, 8)
    x = torch.randn(3, 1, 8, 8, generator=seeded("x"))
    kept = x.clone()
    with torch.no_grad():
        end = langevin(net, x, ChainSettings(3, 1.0, 0.01), generator=seeded("n"))
        assert not torch.is_grad_enabled()
    assert torch.equal(x, kept)
    assert not end.requires_grad
    assert not torch.equal(end, x)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_weights_thaw_when_the_energy_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            assert not self.weight.requires_grad
            raise RuntimeError("no energy today")

    energy = Failing()
    with pytest.raises(RuntimeError, match="no energy today"):
        langevin(energy, torch.zeros(3, 2, 8, 8), ChainSettings(1, 1.0, 0.0))
    assert all(p.requires_grad for p in energy.parameters())


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        (ChainSettings(0, 1.0, 0.0), (2, 1, 8, 8), "steps=0"),
        (ChainSettings(1, 0.0, 0.0), (2, 1, 8, 8), "step_size=0.0"),
        (ChainSettings(1, math.nan, 0.0), (2, 1, 8, 8), "step_size=nan"),
        (ChainSettings(1, 1.0, -1.0), (2, 1, 8, 8), "noise_std=-1.0"),
        (ChainSettings(1, 1.0, 0.1), (2, 1, 8, 8), "needs a generator"),
        (ChainSettings(1, 1.0, 0.0, "fp8"), (2, 1, 8, 8), "'fp8'"),
        (ChainSettings(1, 1.0, 0.0), (2, 3, 8, 8), r"\(n, 1, 8, 8\)"),
        (ChainSettings(1, 1.0, 0.0), (2, 1, 16, 16), r"\(n, 1, 8, 8\)"),
        (ChainSettings(1, 1.0, 0.0), (1, 8, 8), r"\(n, 1, 8, 8\)"),
    ],
)
def test_what_cannot_run_is_refused(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        langevin(energy_net("plain", 1, 8), torch.zeros(shape), settings)


def test_norms_are_the_gradients():
    x = torch.randn(SHAPE, generator=seeded("x"))
    norms = torch.empty(3)
    langevin(quadratic, x, ChainSettings(3, 0.5, 0.0), norms=norms)
    first = x.flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(norms, torch.stack([first, first / 2, first / 4]))


def test_observer_sees_every_state_and_its_gradient():
    seen = []
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(
        quadratic,
        x,
        ChainSettings(4, 0.5, 0.0),
        observe=lambda k, x_k, gradient: seen.append((k, x_k.clone(), gradient.clone())),
    )
    assert [k for k, _, _ in seen] == [0, 1, 2, 3]
    torch.testing.assert_close(seen[0][1], x)
    for k, x_k, gradient in seen:
        torch.testing.assert_close(gradient, x_k)
        following = seen[k + 1][1] if k < 3 else end
        torch.testing.assert_close(following, 0.5 * x_k)


def test_noise_is_standard_normal_and_channels_last():
    noise = draw_normal_(torch.empty(64, 3, 32, 32, memory_format=torch.channels_last), seeded("noise"))
    n = noise.numel()
    assert noise.is_contiguous(memory_format=torch.channels_last)
    assert abs(noise.mean().item()) < 5 / math.sqrt(n)
    assert abs(noise.var().item() - 1) < 5 * math.sqrt(2 / n)


@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
def test_energy_gradient_is_the_derivative(net):
    """Against central differences in float64, in a direction drawn at random."""
    energy = energy_net(net, 2, 8, 6, "silu").double()
    x = torch.randn(4, 2, 8, 8, generator=seeded("x"), dtype=torch.float64)
    v = torch.randn(4, 2, 8, 8, generator=seeded("v"), dtype=torch.float64)
    h = 1e-5
    slope = (energy(x + h * v) - energy(x - h * v)).detach() / (2 * h)
    torch.testing.assert_close((energy_gradient(energy, x) * v).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)
