"""The fused kernels against torch's operators: on a real GPU, or under Triton's interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from bench.contract.seeds import seeded
from ebm.energy import ENERGY_NETS, LEAK
from ebm.engine import fused
from ebm.engine.convolution import Prepacked
from ebm.engine.gradient import NetGradient
from ebm.langevin import ChainSettings, langevin, run, update_
from tests.builders import energy_net, images
from tests.gpu.needed import on_gpu

THERE = torch.cuda.is_available()
RUN = THERE or bool(os.environ.get("TRITON_INTERPRET"))
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not RUN, reason="no CUDA device here, no interpreter")]
# Triton is not imported for nothing
kernels = pytest.importorskip("ebm.engine.triton_kernels", exc_type=ImportError) if RUN else None
DEVICE = torch.device("cuda" if THERE else "cpu")
REAL = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
SHAPES = [(1, 16, 28, 28), (64, 16, 4, 4), (2, 128, 7, 7), (3, 40, 14, 14), (1, 1, 2, 2)]


def drawn(*shape, name="t", dtype=torch.float32):
    t = torch.randn(shape, generator=seeded(name)).to(DEVICE, dtype)
    return t.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else t


def spoilt(t):
    """With values that are not finite, at the same places for the same shape."""
    for at, value in ((0, torch.nan), (1, torch.inf), (-1, -torch.inf)):
        t.view(-1)[at] = value
    return t


def same(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, equal_nan=True, **tolerance)


def exactly(dtype):
    """But for the interpreter, which cuts the last bits of bf16 off."""
    return {"rtol": 0, "atol": 0} if THERE or dtype == torch.float32 else {"rtol": 2**-7, "atol": 0}


def rounded(dtype):
    """A product and a sum may be one operation, which rounds once."""
    return {"rtol": 1e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2**-7, "atol": 2**-9}


@REAL
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bias_and_leaky_relu(shape, dtype):
    """Bit for bit what float32 gives, rounded once; written over what it was given."""
    h, bias = drawn(*shape, dtype=dtype), drawn(shape[1], name="b", dtype=dtype)
    expected = F.leaky_relu(h.float() + bias.float()[:, None, None], LEAK).to(dtype)
    made = kernels.bias_leaky_(h, bias, LEAK)
    same(made, expected, **exactly(dtype))
    assert made.data_ptr() == h.data_ptr()


@REAL
@pytest.mark.parametrize("shape", [(2, 16, 28, 28), (3, 40, 14, 14), (64, 16, 4, 4), (1, 1, 2, 2)], ids=str)
def test_leaky_relu_backward_with_the_skip_s_share(shape, dtype):
    n, c, height, width = shape
    output, g = drawn(*shape, dtype=dtype), drawn(*shape, name="g", dtype=dtype)
    skip = drawn(n, c, height // 2, width // 2, name="s", dtype=dtype)
    slope = torch.where(output > 0, 1.0, LEAK)
    expected = g.float() * slope + F.interpolate(skip.float(), scale_factor=2, mode="nearest") / 4
    made = kernels.leaky_backward_(output, g, skip, LEAK)
    same(made, expected.to(dtype), **rounded(dtype))
    assert made.data_ptr() == output.data_ptr()


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 3, 28, 28), (2, 1, 14, 14), (65, 3, 7, 7), (4, 1, 4, 4), (3, 3, 32, 32), (2, 2, 1, 1)], ids=str
)
def test_update_and_norm(shape, noisy):
    """Images of less than a block and of several, batches beyond one round of norms."""
    x, gradient, noise = (drawn(*shape, name=name) for name in "xge")
    noise = noise if noisy else None
    plain, norms, own = x.clone(), torch.zeros(3, device=DEVICE), torch.zeros((), device=DEVICE)
    update_(plain, gradient, noise, 0.7, 0.01, own)
    kernels.update_(x, gradient, noise, 0.7, 0.01, norms[1])
    same(x, plain, rtol=1e-6, atol=1e-6)
    same(norms[1], gradient.double().flatten(1).norm(dim=1).mean().float(), rtol=1e-6, atol=0)
    same(norms[1], own, rtol=1e-5, atol=0)
    assert norms[0] == norms[2] == 0
    kernels.update_(x, gradient, noise, 0.7, 0.01, None)  # the norm is not asked for
    update_(plain, gradient, noise, 0.7, 0.01, None)
    same(x, plain, rtol=1e-5, atol=1e-5)


def test_what_is_not_channels_last_is_read_in_its_order():
    cut = drawn(2, 3, 10, 10, name="g")[:, :, 1:9, 1:9]
    for gradient in (cut, cut.contiguous()):
        x, norm, plain = drawn(2, 3, 8, 8), torch.zeros((), device=DEVICE), drawn(2, 3, 8, 8)
        kernels.update_(x, gradient, None, 1.0, 0.0, norm)
        update_(plain, gradient, None, 1.0, 0.0, None)
        same(x, plain, rtol=1e-6, atol=1e-6)
    h, bias, skip = drawn(2, 3, 8, 8).contiguous(), drawn(3, name="b"), drawn(2, 3, 4, 4, name="s").contiguous()
    expected = kernels.bias_leaky_(drawn(2, 3, 8, 8), bias, LEAK)
    same(kernels.bias_leaky_(h, bias, LEAK), expected, rtol=0, atol=0)
    expected = kernels.leaky_backward_(
        drawn(2, 3, 8, 8), drawn(2, 3, 8, 8, name="g"), drawn(2, 3, 4, 4, name="s"), LEAK
    )
    made = kernels.leaky_backward_(drawn(2, 3, 8, 8), drawn(2, 3, 8, 8, name="g").contiguous(), skip, LEAK)
    same(made, expected, rtol=0, atol=0)


@REAL
def test_what_is_not_finite_stays_so(dtype):
    """The same values at the same places as by torch's operators, and a norm that says so."""
    h, bias = spoilt(drawn(8, 4, 1, 1, dtype=dtype)), drawn(4, name="b", dtype=dtype)
    expected = F.leaky_relu(h.float() + bias.float()[:, None, None], LEAK).to(dtype)
    same(kernels.bias_leaky_(h, bias, LEAK), expected, **exactly(dtype))
    output, g, skip = (drawn(2, 4, 2, 2, name=name, dtype=dtype) for name in "ogs")
    slope, skip = torch.where(output > 0, 1.0, LEAK), skip[:, :, :1, :1]
    g.permute(0, 2, 3, 1).view(-1)[:2] = torch.tensor([torch.nan, torch.inf])
    expected = g.float() * slope + F.interpolate(skip.float(), scale_factor=2, mode="nearest") / 4
    same(kernels.leaky_backward_(output, g, skip, LEAK), expected.to(dtype), **rounded(dtype))
    for value in (torch.nan, torch.inf, 1e30):  # the square of the last one is not finite
        x, gradient, norm = drawn(3, 1, 4, 4), drawn(3, 1, 4, 4, name="g"), torch.zeros((), device=DEVICE)
        gradient[1, 0, 2, 2] = value
        plain, own = x.clone(), torch.zeros((), device=DEVICE)
        update_(plain, gradient, None, 1.0, 0.0, own)
        kernels.update_(x, gradient, None, 1.0, 0.0, norm)
        same(x, plain, rtol=1e-6, atol=1e-6)
        same(norm, own)
        assert not torch.isfinite(norm)


def test_two_runs_are_the_same_bit_for_bit():
    found = []
    for _ in range(2):
        x, norm = drawn(7, 3, 32, 32), torch.zeros((), device=DEVICE)
        kernels.update_(x, drawn(7, 3, 32, 32, name="g"), drawn(7, 3, 32, 32, name="e"), 1.0, 0.01, norm)
        found.append((x, norm))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.fixture
def everywhere(monkeypatch):
    """The kernels run on a CPU too, behind the library's convolutions as on a GPU."""
    monkeypatch.setattr(Prepacked, "takes", staticmethod(lambda _: False))
    monkeypatch.setattr(fused, "kernels", lambda _, wanted=True: kernels if wanted else None)


@pytest.mark.parametrize("side", [4, 7, 14, 28] if THERE else [7, 28])
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_gradient_and_chain_are_the_plain_ones(kind, side, everywhere):
    net, x = energy_net(kind, 3, side, 4).to(DEVICE), images(2, (3, side, side)).to(DEVICE)
    plain, one = (NetGradient(net, torch.float32, form)(x) for form in (None, kernels))
    same(one, plain, rtol=1e-4, atol=1e-6)
    found = []
    for wanted in (True, False):
        norms = torch.zeros(2, device=DEVICE)
        with torch.no_grad():
            end = run(net, x, ChainSettings(2, 2.0, 0.01, fused=wanted), seeded("n", device=DEVICE), norms)
        found.append((end, norms))
    for own, expected in zip(*found, strict=True):
        same(own, expected, rtol=1e-4, atol=1e-5)
    assert (found[0][0] - x).abs().max() > 1e-3


@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_bf16_gradient_stays_near(kind, everywhere):
    """Rounding flips slopes: the bound is that of the plain form."""
    net, x = energy_net(kind, 3, 16, 8).to(DEVICE), images(4, (3, 16, 16)).to(DEVICE)
    exact, found = NetGradient(net, torch.float32)(x), NetGradient(net, torch.bfloat16, kernels)(x)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() < 0.15 * exact.norm()


# On a real GPU alone


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
@pytest.mark.skipif(not THERE, reason="no CUDA device here")
def test_captured_chains_agree(kind, precision):
    """Fused and plain within rounding; two replays and the chain step by step bit for bit."""
    assert fused.hindrance(torch.zeros(1, device="cuda").device) == ""
    net, x = on_gpu(energy_net(kind, 3, 28, 16)), images(64, (3, 28, 28)).cuda()

    def chain(observe=None, **how):
        norms = torch.empty(6, device="cuda")
        settings = ChainSettings(6, 1.0, 0.01, precision, **how)
        return langevin(net, x, settings, generator=seeded("n", device=x.device), norms=norms, observe=observe), norms

    first, again, eager, plain = chain(), chain(), chain(lambda *_: None), chain(fused=False)
    for one, *others in zip(first, again, eager, strict=True):
        assert all(torch.equal(one, other) for other in others)
    for own, expected in zip(first, plain, strict=True):
        same(own, expected, rtol=1e-3, atol=1e-4)
