"""The published algorithm written afresh: the paper's net, and the update that `ebm` makes on its own engine."""

from __future__ import annotations

import pytest
import torch

from baselines.published import plain_sequence
from bench.contract.seeds import seeded, seeded_init
from bench.errors import NotFiniteError
from tests.builders import energy_net, images, trainer


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32)])
def test_the_net_is_the_papers(channels, side):
    with seeded_init(seeded("f")):
        f = plain_sequence(channels, side, 4)
    energy = energy_net("plain", channels, side, 4)
    for own, other in zip(f.parameters(), energy.parameters(), strict=True):
        own.data.copy_(other)
    x = images(3, (channels, side, side))
    torch.testing.assert_close(-f(x).flatten(), energy(x))


def test_an_update_is_that_of_the_engine():
    """Without noise both start from the same draw, and so must make the same chain and the same step of Adam."""
    settings = {"n_f": 4, "steps": 5, "noise_std": 0.0, "sigma": 0.0, "lr": 1e-2}
    own, other = trainer("published", **settings), trainer("ebm", lr_final=1e-2, sigma_final=0.0, **settings)
    for mine, others in zip(own.model.parameters(), other.model.parameters(), strict=True):
        mine.data.copy_(others)
    before = [p.clone() for p in own.model.parameters()]
    for update in range(2):
        gaps = [t.step(images(8, seed=update), seeded("step", update))["energy gap"] for t in (own, other)]
        assert gaps[0] == pytest.approx(gaps[1], rel=1e-4, abs=1e-6)
    moved = zip(own.model.parameters(), before, strict=True)
    assert sum(not torch.equal(mine, first) for mine, first in moved) == len(before) - 1  # the last bias cancels
    for mine, others in zip(own.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(mine, others, rtol=1e-3, atol=1e-5)


def test_the_noise_of_a_chain_has_its_deviation():
    model = trainer("published", n_f=4, steps=1, noise_std=0.25).model
    start = model.sample_latents(512, seeded("z"))
    noise = model.chain(start, 1, seeded("noise")) - model.chain(start, 1)
    assert noise.std().item() == pytest.approx(0.25, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_a_chain_that_is_not_finite_is_no_image():
    model = trainer("published").model
    model.f[0].weight.data.fill_(float("inf"))
    with pytest.raises(NotFiniteError, match="published chain's end is not finite"):
        model.sample(2, seeded("x"))
