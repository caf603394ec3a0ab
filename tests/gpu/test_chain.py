"""Captured chains on a real GPU: the specification, replays, precision, memory, no wait."""

from __future__ import annotations

import gc

import pytest
import torch

from bench.contract.seeds import seeded
from bench.evaluation.throughput import sampler_throughput
from bench.machine.runtime import is_out_of_memory
from ebm.energy import ACTIVATIONS, COARSE_SIDES, ENERGY_NETS, SIDES
from ebm.engine import graphs
from ebm.langevin import ChainSettings, draw_normal_, langevin
from ebm.reference import langevin_reference
from tests.builders import energy_net, images, short_run
from tests.gpu.needed import CUDA, needs_gpu, on_gpu, precisions

pytestmark = needs_gpu


@pytest.mark.parametrize("side", COARSE_SIDES + SIDES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_double_precision_chain_equals_its_specification(kind, side):
    """No rounding flips a slope here: what differs is a mistake."""
    net, x = on_gpu(energy_net(kind, 3, side, 4).double()), images(3, (3, side, side)).double().to(CUDA)
    one, two = seeded("n", device=CUDA), seeded("n", device=CUDA)
    eps = torch.empty_like(x, memory_format=torch.channels_last)
    for _ in range(2):  # the second is a replay without a capture
        end = langevin(net, x, ChainSettings(4, 2.0, 0.01), generator=one)
        expected = langevin_reference(net, x, steps=4, step_size=2.0, noise=lambda _: 0.01 * draw_normal_(eps, two))
        torch.testing.assert_close(end, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("precision", precisions())
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_a_replay_is_the_chain_step_by_step(kind, activation, precision):
    """End, norms and generator, bit for bit: for new weights, new starts, and with or without noise."""
    net, k = on_gpu(energy_net(kind, 3, 16, 8, activation)), 6
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for update, n in enumerate((4, 7, 4, 4)):
        x = images(n, (3, 16, 16), seed=update).to(CUDA)
        for std in (0.01, 0.0):
            settings, found = ChainSettings(k, 1.0, std, precision), []
            for observe in (None, lambda *_: None):  # a chain that is observed is not captured
                generator, norms = seeded("n", update, device=CUDA), torch.empty(k, device=CUDA)
                torch.rand(5, generator=generator, device=CUDA)  # as in training: the start is drawn before
                end = langevin(net, x, settings, generator=generator, norms=norms, observe=observe)
                found.append((end, norms, generator.get_state()))
            assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)), (update, n, std)
        optimizer.zero_grad()
        net(x).mean().backward()
        optimizer.step()
    assert len(graphs._graphs[net]) == 4


def test_tf32_is_asked_for_and_put_back():
    net, x = on_gpu(energy_net("plain", 3, 32, 32)), images(16, (3, 32, 32)).to(CUDA)
    exact, rounded = (langevin(net, x, ChainSettings(5, 1.0, 0.0, p)) for p in ("float32", "tf32"))
    assert torch.equal(exact, langevin(net, x, ChainSettings(5, 1.0, 0.0)))
    if torch.cuda.get_device_capability() >= (8, 0):
        assert not torch.equal(exact, rounded)


def test_a_chain_never_waits_for_the_gpu():
    net, x = on_gpu(energy_net("plain", 3, 32, 8)), images(8, (3, 32, 32)).to(CUDA)
    generator, norms = seeded("n", device=CUDA), torch.empty(5, device=CUDA)
    langevin(net, x, ChainSettings(5, 1.0, 0.01), generator=generator, norms=norms)
    torch.cuda.set_sync_debug_mode("error")
    try:
        langevin(net, x, ChainSettings(5, 1.0, 0.01), generator=generator, norms=norms)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_graphs_are_few_and_go_with_their_net():
    net = on_gpu(energy_net("plain", 3, 16, 8))
    for n in range(1, 2 * graphs.KEPT):
        langevin(net, images(n, (3, 16, 16)).to(CUDA), ChainSettings(2, 1.0, 0.0))
    assert len(graphs._graphs[net]) == graphs.KEPT
    held = torch.cuda.memory_allocated()
    del net
    gc.collect()
    assert not graphs._graphs
    assert torch.cuda.memory_allocated() < held


def test_graphs_that_share_memory_do_not_disturb_each_other():
    """In any order of replays, with larger and smaller batches."""
    net = on_gpu(energy_net("residual", 3, 16, 8))
    starts = {n: images(n, (3, 16, 16), seed=n).to(CUDA) for n in (64, 3, 17)}
    alone = {n: langevin(net, x, ChainSettings(4, 1.0, 0.0), observe=lambda *_: None) for n, x in starts.items()}
    for n in (3, 64, 17, 64, 3, 3, 17):
        assert torch.equal(langevin(net, starts[n], ChainSettings(4, 1.0, 0.0)), alone[n]), n


def test_the_reported_peak_holds_the_activations():
    model = short_run(on_gpu(energy_net("plain", 3, 32, 32)), (3, 32, 32))
    for _ in range(2):  # the second finds its chain captured already
        found = sampler_throughput(model, batch_size=64, repeats=2, seed=0)
        assert found.peak_memory_mib > 64 * 32 * 32 * 32 * 4 / 2**20  # the first layer's output alone


def test_a_chain_that_does_not_fit_can_be_followed_by_one_that_does():
    net = on_gpu(energy_net("plain", 3, 32, 32))
    free, _ = torch.cuda.mem_get_info()
    x = torch.zeros(free // (20 * 3 * 32 * 32 * 4), 3, 32, 32, device=CUDA)  # its activations fill the memory
    with pytest.raises(RuntimeError) as caught:
        langevin(net, x, ChainSettings(2, 1.0, 0.0))
    assert is_out_of_memory(caught.value)
    del caught, x
    gc.collect()
    torch.cuda.empty_cache()
    assert torch.isfinite(langevin(net, images(4, (3, 32, 32)).to(CUDA), ChainSettings(2, 1.0, 0.0))).all()
