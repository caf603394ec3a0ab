"""Flow matching's learner and its net: the average, the state, learning, settings, the U-Net's levels."""

from __future__ import annotations

import copy

import pytest
import torch

from baselines.unet import UNet, level_sides, time_features
from bench.contract.seeds import seeded, seeded_init
from bench.evaluation import pictures
from tests.builders import images, random_unet, trainer


def test_average_follows_the_learner_and_is_young_at_first():
    t = trainer("flow", ema=0.5)
    mean = [p.clone() for p in t.model.parameters()]
    for update in range(20):
        t.step(images(8, seed=update), seeded("step", update))
        decay = min(0.5, t.updates / (t.updates + 10))
        mean = [decay * m + (1 - decay) * p for m, p in zip(mean, t.net.parameters(), strict=True)]
    for a, b in zip(t.model.parameters(), mean, strict=True):
        torch.testing.assert_close(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(t.model.parameters(), t.net.parameters(), strict=True))


def test_state_is_complete_without_an_average():
    original, restored = trainer("flow", ema=0.0), trainer("flow", ema=0.0, seed=1)
    original.step(images(8), seeded("step", 0))
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    results = [t.step(images(8, seed=1), seeded("step", 1)) for t in (original, restored)]
    assert results[0] == results[1]
    for a, b in zip(original.model.parameters(), restored.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_finds_the_data_s_moments():
    """Images of a pattern and a little noise: after training, samples have the same mean and deviation."""
    t = trainer("flow", width=8, levels=1, lr=1e-2, ema=0.9, evaluations=10)
    pattern = 0.6 * images(1, seed=5)
    for update in range(120):
        noise = torch.randn(32, 1, 8, 8, generator=seeded("data", update))
        t.step(pattern + 0.2 * noise, seeded("step", update))
    made = t.model.sample(500, seeded("x"))
    assert (made.mean(0) - pattern[0]).square().mean().sqrt() < 0.06
    assert made.std(0).mean() == pytest.approx(0.2, abs=0.1)  # that of untrained samples is above 0.6


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 6), ("levels", 0), ("evaluations", 0), ("lr", 0.0), ("ema", 1.0), ("clip", -1.0), ("solver", "rk4")],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value!r} is out of range"):
        trainer("flow", **{setting: value})


def test_clipped_gradients_leave_the_log_their_norm():
    """One Adam step hardly depends on the gradient's size: the norm in the log is that before clipping."""
    norms = [trainer("flow", clip=clip).step(images(8), seeded("step"))["gradient norm"] for clip in (0.0, 1e-3)]
    assert norms[0] == norms[1] > 1e-2


@pytest.mark.parametrize(
    ("side", "sides"),
    [(8, [8, 4]), (16, [16, 8, 4]), (28, [28, 14, 7]), (32, [32, 16, 8, 4]), (128, [128, 64, 32, 16])],
)
def test_sides_of_the_levels(side, sides):
    assert level_sides(side, 4) == sides
    assert level_sides(side, 1) == [side]


def test_unet_is_zero_at_first_and_uses_all_it_has():
    with seeded_init(seeded("net")):
        net = UNet(3, 16, width=8, levels=3, blocks=2)
    x, t = torch.randn(2, 3, 16, 16, generator=seeded("x")), torch.tensor([0.2, 0.7])
    assert torch.equal(net(x, t), torch.zeros_like(x))
    net = random_unet((3, 16, 16)).double()
    x, t = x.double(), t.double()
    weights = torch.randn(2, 3, 16, 16, generator=seeded("w"), dtype=torch.float64)
    (net(x, t) * weights).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    assert not torch.allclose(net(x, t), net(x, t.flip(0)))
    torch.testing.assert_close(net(x, t)[:1], net(x[:1], t[:1]))  # each image alone


def test_time_features_tell_near_times_apart():
    """Unit vectors up to width / 2, whose products depend on the difference of times alone."""
    t = torch.tensor([0.0, 0.001, 0.3, 0.301, 1.0], dtype=torch.float64)
    products = time_features(t, 32) @ time_features(t, 32).T / 16
    torch.testing.assert_close(products.diag(), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(products[0, 1], products[2, 3])
    assert products[0, 1] < 0.99


def test_a_flow_is_drawn_on_its_way_but_not_run_on():
    model = trainer("flow").model
    assert pictures.chain(model, 0, 4)["chain"].labels == ("0", "1", "3", "4")
    assert pictures.long_chain(model, 0) == {}
