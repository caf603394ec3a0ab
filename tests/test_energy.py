"""Energy nets: sides, sizes, and what piecewise linear means."""

from __future__ import annotations

import pytest
import torch

from bench.contract.model import count_parameters
from bench.contract.seeds import seeded
from ebm.energy import ACTIVATIONS, COARSE_SIDES, ENERGY_NETS, SIDES, padded_side, plain_net, residual_net
from tests.builders import energy_net, images, short_run


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
@pytest.mark.parametrize("side", COARSE_SIDES + SIDES)
def test_one_energy_an_image_at_every_side(kind, side):
    net = energy_net(kind, 3, side, 2)
    x = images(3, (3, side, side))
    energies = net(x)
    assert energies.shape == (3,)
    torch.testing.assert_close(net(x[1:2]), energies[1:2])  # an energy is a function of its own image
    assert len(set(energies.tolist())) == 3


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_unsupported_side_is_named(kind):
    with pytest.raises(ValueError, match=r"side 48 .* 8, 16, 28, 32, 64, 128"):
        energy_net(kind, 3, 48)


def test_plain_net_is_the_paper_s():
    """32x32, n_f = 32: 3x3 to 32, three strided 4x4 layers to 64, 128, 256, and 4x4 to one number."""
    expected = (3 * 9 * 32 + 32) + (16 * 32 * 64 + 64) + (16 * 64 * 128 + 128) + (16 * 128 * 256 + 256) + 16 * 256 + 1
    assert count_parameters(energy_net("plain", 3, 32, 32)) == expected


@pytest.mark.parametrize("n_f", [16, 32, 64, 128])
@pytest.mark.parametrize("side", [8, 32, 64])
def test_residual_net_matches_the_plain_one_s_size(n_f, side):
    with torch.device("meta"):
        plain, residual = plain_net(3, side, n_f), residual_net(3, side, n_f)
    assert count_parameters(residual) == pytest.approx(count_parameters(plain), rel=0.03)


def test_28_is_padded_with_zeros_to_32():
    """The net of side 28 equals the net of side 32, of the same weights, on the image with a border of zeros."""
    small, large = energy_net("plain", 1, 28), energy_net("plain", 1, 32)
    large.load_state_dict(small.state_dict())
    x = images(2, (1, 28, 28))
    assert padded_side(28) == 32
    torch.testing.assert_close(small(x), large(torch.nn.functional.pad(x, (2, 2, 2, 2))))


def test_14_is_padded_like_28_and_7_on_two_sides():
    """7 grows to 8 by a 4x4 kernel: with zeros in its first row and column it is 3x3 on a border of zeros below."""
    x, small, large = images(2, (1, 14, 14)), energy_net("plain", 1, 14), energy_net("plain", 1, 16)
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(small(x), large(torch.nn.functional.pad(x, (1, 1, 1, 1))))

    x, small, large = images(2, (1, 7, 7)), energy_net("plain", 1, 7), energy_net("plain", 1, 8)
    weights = large.state_dict()
    weights["features.0.weight"] = torch.nn.functional.pad(weights["features.0.weight"], (1, 0, 1, 0))
    small.load_state_dict(weights)
    torch.testing.assert_close(small(x), large(torch.nn.functional.pad(x, (0, 1, 0, 1))))


def test_side_4_is_one_convolution_and_the_head():
    expected = (9 * 5 + 5) + 16 * 5 + 1
    assert [count_parameters(energy_net(kind, 1, 4, 5)) for kind in ENERGY_NETS] == [expected] * 2


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_piecewise_linear_says_whether_the_hessian_vanishes(kind, activation):
    from ebm.short_run import hessian_product

    net = energy_net(kind, 1, 8, 6, activation)
    x, v = images(4), torch.randn(4, 1, 8, 8, generator=seeded("v"))
    product = hessian_product(short_run(net, (1, 8, 8)), x, v)
    assert (product.abs().max() == 0) == net.piecewise_linear
