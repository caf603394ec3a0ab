"""The pieces of algorithm 1: loss, log, annealing, averaging, the update, and the end of a run that lost its data."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from bench.contract.averaging import average
from bench.contract.seeds import seeded
from bench.errors import DivergedError
from ebm.learning import Contrast, annealed, as_floats, descend, noisy, updates_apart
from tests.builders import energy_net, images


class Sum(nn.Module):
    """E(x) = w times the sum of x, so that every number can be had by hand."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def features(self, x):
        return x.flatten(1).sum(1, keepdim=True)

    def of_features(self, h):
        return (self.weight * h).flatten()


def constant(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


def test_loss_and_log_by_hand():
    """E of the images 2 and 6, of the negatives 4, 8 and 12."""
    energy = Sum()
    contrast = Contrast(energy, constant(1, 3), constant(2, 4, 6))
    square = (4 + 36 + 16 + 64 + 144) / 5
    assert contrast.loss().item() == pytest.approx(4 - 8)
    assert contrast.loss(0.1).item() == pytest.approx(4 - 8 + 0.1 * square)
    (gradient,) = torch.autograd.grad(contrast.loss(0.1), energy.weight)
    assert gradient.item() == pytest.approx(2 - 4 + 0.1 * square)  # d(E^2)/dw = 2 E^2 / w
    log = as_floats(contrast.scalars())
    assert log["energy gap"] == pytest.approx(8 - 4)
    assert log["energy rms"] == pytest.approx(math.sqrt(square))
    assert log["AUROC(data, chain)"] == pytest.approx(5 / 6)  # all pairs but (6, 4)
    assert log["moments gap"] == pytest.approx((4 - 2) / 3)


def test_contrast_is_of_each_batch_as_if_alone():
    energy, x, y = energy_net("plain", 1, 8), images(5), images(3, seed=1)
    loss = Contrast(energy, x, y).loss()
    torch.testing.assert_close(loss, energy(x).mean() - energy(y).mean())


def test_descend_takes_one_step_at_its_rate_and_forgets_old_gradients():
    energy = Sum()
    optimizer = torch.optim.SGD(energy.parameters(), lr=5.0)
    energy.weight.grad = torch.full_like(energy.weight, 100)
    descend(optimizer, 3 * energy.weight, 0.1)
    assert energy.weight.item() == pytest.approx(2 - 0.3)


def test_a_setting_falls_linearly_after_its_beginning():
    assert [annealed(1.0, 0.2, update, 10, 0.5) for update in (0, 5, 10)] == pytest.approx([1.0, 1.0, 0.2])
    assert annealed(1.0, 0.2, 6, 8, 0.5) == pytest.approx(0.6)
    assert annealed(1.0, 0.2, 3, 4) == pytest.approx(0.4)


def test_an_average_is_young_before_it_is_old():
    mean, now = energy_net("plain", 1, 8), energy_net("plain", 1, 8, seed=1)
    before = copy.deepcopy(mean)
    average(mean, now, 0.9, updates=1)
    torch.testing.assert_close(mean.head.weight, before.head.weight / 11 + now.head.weight * 10 / 11)
    before = copy.deepcopy(mean)
    average(mean, now, 0.9, updates=1000)
    torch.testing.assert_close(mean.head.weight, 0.9 * before.head.weight + 0.1 * now.head.weight)


def test_updates_apart_are_counted_in_a_row():
    assert updates_apart(2, 1.0, limit=4) == 3
    assert updates_apart(3, 0.999, limit=4) == 0
    assert updates_apart(3, 1.0, limit=0) == 4
    with pytest.raises(DivergedError, match=r"the chains of level 8 have lost the data: .* for 4 updates"):
        updates_apart(3, 1.0, limit=4, chains="the chains of level 8")


def test_noise_has_its_deviation_and_its_generator():
    x = images(200)
    eps = (noisy(x, 0.3, seeded("noise")) - x) / 0.3
    assert abs(eps.std() - 1) < 0.03
    assert torch.equal(noisy(x, 0.3, seeded("noise")), noisy(x, 0.3, seeded("noise")))
    assert torch.equal(noisy(x, 0.0, seeded("noise")), x)
