"""A state dict of the published script's net in `ebm`: the same energies, the same chain."""

from __future__ import annotations

import pytest
import torch

from baselines.published import PublishedTrainer, plain_sequence
from bench.contract.seeds import seeded, seeded_init
from bench.errors import UserError
from ebm.published import from_published
from tests.builders import images


def net(channels=3, side=32, n_f=4):
    with seeded_init(seeded("script")):
        return plain_sequence(channels, side, n_f)


@pytest.mark.parametrize("prefix", ["", "f.", "module.f."])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_the_energies_are_the_same(shape, prefix):
    f = net(shape[0], shape[1])
    state = {prefix + key: value for key, value in f.state_dict().items()}
    model = from_published(state, shape)
    x = images(5, shape)
    torch.testing.assert_close(model.energy(x), -f(x).flatten(), rtol=1e-5, atol=1e-6)


def test_the_chain_is_the_scripts():
    """`published` runs the script's chain by autograd; the noise-free ends agree but for rounding."""
    shape = (1, 8, 8)
    config = PublishedTrainer.Config(updates=1, batch_size=2, n_f=4, steps=6)
    script = PublishedTrainer(config, shape, generator=seeded("script"), device=torch.device("cpu")).model
    model = from_published(script.state_dict(), shape, steps=6)
    latents = model.sample_latents(4, seeded("start"))
    torch.testing.assert_close(model.decode(latents), script.decode(latents), rtol=1e-4, atol=1e-5)
    assert (model.settings.step_size, model.settings.noise_std) == (1.0, 0.01)


@pytest.mark.parametrize(
    ("state", "shape", "said"),
    [
        ({"conv1.weight": torch.zeros(1)}, (3, 32, 32), "has 'conv1.weight', which no nn.Sequential has"),
        ({"0.weight": torch.zeros(1), "1.weight": torch.zeros(1)}, (3, 32, 32), "layers [0, 1]"),
        ({}, (3, 32, 32), "layers []"),
        (net().state_dict(), (3, 64, 64), "not that of the published net for images (3, 64, 64)"),
        (net().state_dict(), (1, 32, 32), "not that of the published net for images (1, 32, 32)"),
    ],
)
def test_another_state_dict_is_refused_in_one_line(state, shape, said):
    with pytest.raises(UserError) as caught:
        from_published(state, shape)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
