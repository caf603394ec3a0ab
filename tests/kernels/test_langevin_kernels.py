"""Times of Langevin kernels, run by `nox -s kernels`: ratios to the bare convolutions, timed in turn with them.

No time is asserted: absolute times are the machine's, and a busy machine must not fail a test.
"""

from __future__ import annotations

import os
import statistics
import time

import pytest
import torch

from bench import runtime
from bench.seeds import seeded
from ebm.energy import ENERGY_NETS
from ebm.langevin import gaussian_like, langevin
from tests.builders import energy_net, images, trainer
from tests.kernels.floor import bare_convolutions

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH, K = 64, 20
PAIRS = 7
SIZES = [(16, 32), (32, 32), (64, 32), (32, 64)]  # n_f, side


def seconds(function) -> float:
    runtime.synchronize(DEVICE)
    started = time.perf_counter()
    function()
    runtime.synchronize(DEVICE)
    return time.perf_counter() - started


def paired_ratio(function, reference) -> float:
    """Median of the ratios of neighbouring runs, A B A B, so that a drift of the machine cancels."""
    function(), reference()
    return statistics.median(seconds(function) / seconds(reference) for _ in range(PAIRS))


def report(benchmark, **facts) -> None:
    benchmark.extra_info.update(
        device=runtime.device_name(DEVICE.type), threads=torch.get_num_threads(), dtype="float32", batch=BATCH, **facts
    )


@pytest.fixture(autouse=True)
def _all_cores():
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(threads)


def make(kind: str, n_f: int, side: int):
    net = energy_net(kind, 3, side, n_f).to(device=DEVICE, memory_format=torch.channels_last)
    x = images(BATCH, (3, side, side)).to(DEVICE).contiguous(memory_format=torch.channels_last)
    return net, x


@pytest.mark.parametrize(("n_f", "side"), SIZES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
@pytest.mark.parametrize("steps", [1, K])
def test_chain(benchmark, kind, n_f, side, steps):
    net, x = make(kind, n_f, side)
    generator = seeded("noise", device=DEVICE)

    def chain():
        return langevin(net, x, steps=steps, step_size=1.0, noise_std=0.01, generator=generator)

    assert torch.isfinite(chain()).all()
    floor = bare_convolutions(net, x)
    ratio = paired_ratio(chain, lambda: [floor() for _ in range(steps)])
    benchmark.pedantic(chain, rounds=5, warmup_rounds=1)
    median = benchmark.stats.stats.median if benchmark.stats else float("nan")
    report(benchmark, net=kind, n_f=n_f, side=side, steps=steps, ratio_to_floor=ratio, steps_per_second=steps / median)


@pytest.mark.parametrize("n_f", [16, 32])
def test_training_update(benchmark, n_f):
    """One update of the trainer, and its ratio to the chain inside it."""
    t = trainer("ebm", (3, 32, 32), n_f=n_f, steps=K, batch_size=BATCH)
    t.learner.to(DEVICE)
    x = images(BATCH, (3, 32, 32)).to(DEVICE)
    generator = seeded("noise", device=DEVICE)

    def update():
        return t.step(x, generator)

    ratio = paired_ratio(update, lambda: t.learner.chain(x, generator))
    benchmark.pedantic(update, rounds=3, warmup_rounds=1)
    report(benchmark, n_f=n_f, side=32, steps=K, ratio_to_chain=ratio)


def test_noise(benchmark):
    x = torch.empty(BATCH, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
    generator = seeded("noise", device=DEVICE)
    slow = torch.empty_like(x)  # channels-last, filled element by element, as randn_like does
    ratio = paired_ratio(lambda: gaussian_like(x, generator), lambda: slow.normal_(generator=generator))
    benchmark(gaussian_like, x, generator)
    report(benchmark, side=32, ratio_to_channels_last=ratio)
