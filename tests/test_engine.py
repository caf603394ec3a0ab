"""The fast chain equals its specification, for every net, activation, side, precision and device."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench.contract.seeds import seeded
from ebm.energy import ACTIVATIONS, COARSE_SIDES, ENERGY_NETS, SIDES, pooled_kernel
from ebm.engine import graphs
from ebm.engine.convolution import (
    LARGE_WEIGHTS,
    ImageConvolution,
    LibraryConvolution,
    MatrixConvolution,
    Prepacked,
    PrepackedConvolution,
    prepare,
)
from ebm.engine.gradient import NetGradient
from ebm.langevin import ChainSettings, draw_normal_, langevin
from ebm.reference import energy_gradient, langevin_reference
from tests.builders import energy_net, images, trainer

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
    ),
]


def assert_same_chain(net, x, settings):
    """Chain against specification under the same noise."""
    generator, twin = seeded("noise", device=x.device), seeded("noise", device=x.device)
    eps = torch.empty_like(x, memory_format=torch.channels_last)
    end = langevin(net, x, settings, generator=generator)
    expected = langevin_reference(
        net,
        x,
        steps=settings.steps,
        step_size=settings.step_size,
        noise=lambda _: settings.noise_std * draw_normal_(eps, twin),
    )
    assert (end - x).abs().max() > 1e-3  # the chain does move
    torch.testing.assert_close(end, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("side", COARSE_SIDES + SIDES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_chain_equals_its_specification(kind, side, device):
    for channels, n, steps in ((1, 5, 1), (3, 2, 4)):
        net = energy_net(kind, channels, side, 4).to(device)
        assert_same_chain(net, images(n, (channels, side, side)).to(device), ChainSettings(steps, 2.0, 0.01))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_gradient_equals_autograd_s(kind, activation):
    """In double precision, to its rounding."""
    net = energy_net(kind, 3, 16, 6, activation).double()
    x = images(4, (3, 16, 16)).double()
    torch.testing.assert_close(NetGradient(net, torch.float64)(x), energy_gradient(net, x))


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_trained_weights(kind):
    t = trainer("ebm", net=kind, updates=30, lr=1e-2, n_f=8, steps=5)
    for update in range(30):
        t.step(images(16).abs(), seeded("step", update))
    assert_same_chain(t.model.energy, images(8), ChainSettings(20, 1.0, 0.01))


def test_the_weights_are_those_of_the_moment():
    net = energy_net("plain", 1, 8)
    x, settings = images(3), ChainSettings(3, 1.0, 0.0)
    before = langevin(net, x, settings)
    with torch.no_grad():
        net.features[0].weight.mul_(2)
    assert not torch.equal(langevin(net, x, settings), before)
    assert_same_chain(net, x, replace(settings, noise_std=0.01))


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_gradient_of_a_batch_is_that_of_its_images(kind):
    """One by one too, and again: nothing that a call writes over is read by the next."""
    gradient = NetGradient(energy_net(kind, 1, 8), torch.float32)
    x = images(6)
    whole = gradient(x)
    for parts in (x.split(2), x.split(1)):
        torch.testing.assert_close(torch.cat([gradient(part) for part in parts]), whole)


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_image_convolution_equals_the_library_s(kernel, padding, side):
    """All paddings, those beyond the kernel's reach included (28 pixels grown to 32 have 3)."""
    weight = torch.randn(6, 3, kernel, kernel, generator=seeded("w"))
    same_convolution(ImageConvolution(weight, None, padding=padding, side=side), weight, None, 1, padding, side)


@pytest.mark.parametrize(("side", "padding"), [(8, 1), (16, 1), (6, 0)])
def test_matrix_convolution_equals_the_library_s(side, padding):
    weight, bias = torch.randn(6, 5, 4, 4, generator=seeded("w")), torch.randn(6, generator=seeded("b"))
    same_convolution(MatrixConvolution(weight, bias, padding=padding), weight, bias, 2, padding, side)


@pytest.mark.skipif(not Prepacked.available(), reason="torch without oneDNN's prepacked operators")
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "side"), [(4, 2, 1, 8), (3, 1, 1, 8), (1, 1, 0, 5), (3, 2, 1, 8)]
)
def test_prepacked_convolution_equals_the_library_s(kernel, stride, padding, side):
    weight, bias = torch.randn(6, 5, kernel, kernel, generator=seeded("w")), torch.randn(6, generator=seeded("b"))
    layer = PrepackedConvolution(weight, bias, stride=stride, padding=padding, side=side)
    same_convolution(layer, weight, bias, stride, padding, side)


def same_convolution(layer, weight, bias, stride, padding, side):
    library = LibraryConvolution(weight, bias, stride=stride, padding=padding)
    x = torch.randn(3, weight.shape[1], side, side, generator=seeded("x"))
    expected = library.forward(x)
    torch.testing.assert_close(layer.forward(x), expected, rtol=1e-4, atol=1e-5)
    g = torch.randn(expected.shape, generator=seeded("g")).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer.backward(g), library.backward(g), rtol=1e-4, atol=1e-5)


def test_forms_are_chosen_by_shape():
    large = torch.zeros(LARGE_WEIGHTS // 4 // 16 // 128, 128, 4, 4)
    assert isinstance(prepare(large, None, stride=2, padding=1, side=8), MatrixConvolution)
    usual = PrepackedConvolution if Prepacked.available() else LibraryConvolution
    assert isinstance(prepare(large, None, stride=2, padding=1, side=16), usual)
    assert isinstance(prepare(large[1:], None, stride=2, padding=1, side=8), usual)
    assert isinstance(prepare(large.bfloat16(), None, stride=2, padding=1, side=8), LibraryConvolution)
    assert isinstance(prepare(torch.zeros(8, 3, 3, 3), None, stride=1, padding=1, side=8), ImageConvolution)
    assert isinstance(prepare(torch.zeros(8, 3, 3, 3), None, stride=1, padding=1, side=7), usual)


def test_pooled_kernel_is_convolution_then_pooling():
    weight, x = torch.randn(5, 4, 3, 3, generator=seeded("w")), torch.randn(2, 4, 8, 8, generator=seeded("x"))
    expected = F.avg_pool2d(F.conv2d(x, weight, padding=1), 2)
    torch.testing.assert_close(F.conv2d(x, pooled_kernel(weight), stride=2, padding=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_bf16_gradient_stays_near(kind, device):
    """Rounding flips the slope of units near zero, so the bound is on the whole gradient, not on its entries."""
    net = energy_net(kind, 3, 16, 8).to(device)
    x = images(16, (3, 16, 16)).to(device)
    exact = NetGradient(net, torch.float32)(x)
    rounded = NetGradient(net, torch.bfloat16)(x)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.15 * exact.norm()


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("device", DEVICES)
def test_reduced_precision_chain_stays_near(device, precision):
    """The end differs from float32's by far less than the chain moved; the state itself is not rounded."""
    net, x = energy_net("plain", 3, 16, 8).to(device), images(16, (3, 16, 16)).to(device)
    exact = langevin(net, x, ChainSettings(10, 2.0, 0.0))
    end = langevin(net, x, ChainSettings(10, 2.0, 0.0, precision))
    assert end.dtype == torch.float32
    assert (end - exact).norm() < 0.1 * (exact - x).norm()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_replayed_graph_follows_weights_noise_and_shape():
    net, settings = energy_net("plain", 3, 32, 8).cuda(), ChainSettings(6, 1.0, 0.01)
    for n in (4, 7, 4):
        x = images(n, (3, 32, 32), seed=n).cuda()
        norms = torch.empty(6, device="cuda")
        end = langevin(net, x, settings, generator=seeded("noise", device=x.device), norms=norms)
        eager = langevin(net, x, settings, generator=seeded("noise", device=x.device), observe=lambda k, x, g: None)
        torch.testing.assert_close(end, eager)
        assert torch.isfinite(norms).all()
        with torch.no_grad():
            net.features[0].weight.mul_(1.1)
    assert len(graphs._graphs[net]) == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_replay_moves_the_generator_on():
    net, settings = energy_net("plain", 3, 32, 8).cuda(), ChainSettings(6, 1.0, 0.01)
    x, generator = images(4, (3, 32, 32)).cuda(), seeded("noise", device=torch.device("cuda"))
    first, second = (langevin(net, x, settings, generator=generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_a_graph_is_never_used_for_another_chain():
    """Whatever a capture freezes is in its key: shape, settings, noise, and where the weights lie."""
    net, settings = energy_net("plain", 1, 8), ChainSettings(3, 1.0, 0.01)
    key = graphs.graph_key(net, images(4), settings, noisy=True)
    assert key == graphs.graph_key(net, images(4, seed=1), settings, noisy=True)
    others = [
        graphs.graph_key(net, images(5), settings, noisy=True),
        graphs.graph_key(net, images(4).double(), settings, noisy=True),
        graphs.graph_key(net, images(4), replace(settings, step_size=0.5), noisy=True),
        graphs.graph_key(net, images(4), settings, noisy=False),
        graphs.graph_key(copy.deepcopy(net), images(4), settings, noisy=True),
    ]
    assert len({key, *others}) == 6
