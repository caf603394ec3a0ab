"""The sampler against the equation, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.seeds import seeded
from ebm.energy import ENERGY_NETS
from ebm.langevin import energy_gradient, gaussian_like, langevin
from tests.builders import energy_net

SHAPE = (5, 2, 4, 4)


def quadratic(x):
    """E(x) = |x|^2 / 2: dE/dx = x."""
    return x.square().flatten(1).sum(1) / 2


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(0, 12), step_size=st.floats(0.01, 1.5))
def test_noise_free_chain_on_a_quadratic_is_geometric(steps, step_size):
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(quadratic, x, steps=steps, step_size=step_size, noise_std=0.0)
    torch.testing.assert_close(end, (1 - step_size) ** steps * x, rtol=1e-4, atol=1e-6)


def test_two_noisy_steps_by_hand():
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(quadratic, x, steps=2, step_size=0.25, noise_std=0.1, generator=seeded("noise"))
    noise = seeded("noise")
    first = 0.75 * x + 0.1 * gaussian_like(x, noise)
    torch.testing.assert_close(end, 0.75 * first + 0.1 * gaussian_like(x, noise))


def test_textbook_chain_reaches_the_stationary_variance():
    """x <- (1 - s) x + sqrt(2 s) eps has variance 2 s / (1 - (1 - s)^2) = 1 / (1 - s / 2) exactly."""
    s = 0.2
    x = torch.zeros(4000, 1, 4, 4)
    end = langevin(quadratic, x, steps=60, step_size=s, noise_std=math.sqrt(2 * s), generator=seeded("chain"))
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
        end = langevin(net, x, steps=3, step_size=1.0, noise_std=0.01, generator=seeded("n"))
        assert not torch.is_grad_enabled()
    assert torch.equal(x, kept)
    assert not end.requires_grad
    assert not torch.equal(end, x)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_weights_thaw_when_the_energy_fails():
    net = energy_net("plain", 1, 8)
    with pytest.raises(RuntimeError):
        langevin(net, torch.zeros(3, 2, 8, 8), steps=1, step_size=1.0, noise_std=0.0)
    assert all(p.requires_grad for p in net.parameters())


def test_observer_sees_every_state_and_its_gradient():
    seen = []
    x = torch.randn(SHAPE, generator=seeded("x"))
    end = langevin(
        quadratic,
        x,
        steps=4,
        step_size=0.5,
        noise_std=0.0,
        observe=lambda k, x_k, gradient: seen.append((k, x_k.clone(), gradient.clone())),
    )
    assert [k for k, _, _ in seen] == [0, 1, 2, 3]
    torch.testing.assert_close(seen[0][1], x)
    for k, x_k, gradient in seen:
        torch.testing.assert_close(gradient, x_k)
        following = seen[k + 1][1] if k < 3 else end
        torch.testing.assert_close(following, 0.5 * x_k)


def test_noise_is_standard_normal_and_channels_last():
    noise = gaussian_like(torch.empty(64, 3, 32, 32), seeded("noise"))
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
