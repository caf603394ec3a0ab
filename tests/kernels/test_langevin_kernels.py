"""Times of Langevin kernels, run by `nox -s kernels`: ratios to contestants that take turns with the engine.

No time is asserted: absolute times are the machine's, and a busy machine must not fail a test.
"""

from __future__ import annotations

import pytest
import torch

from bench.contract.seeds import seeded
from ebm.energy import ENERGY_NETS
from ebm.engine import fused
from ebm.langevin import ChainSettings, draw_normal_, langevin
from tests.builders import images, short_run, trainer
from tests.kernels.floor import bare_convolutions, gflop, record, repeated
from tests.kernels.measure import DEVICE, SECONDS, Race, peak_memory, sgemm, timed
from tests.kernels.memory import peak_mib
from tests.kernels.subjects import (
    BATCH,
    NOISE_STD,
    STEP_SIZE,
    K,
    chain_by_reference,
    make,
    peers,
    reference,
    unrolled_inversion,
)

SIZES = [(16, 32), (32, 32), (64, 32), (32, 64)]  # n_f, side
PAPER_K = 100  # steps of the paper's chains
DIGITS = {"n_f": 32, "steps": K, "batch_size": BATCH, "lr": 2e-3}  # as the quick profile's


def race_of_chain(benchmark, net, x, steps, found_peers=None, /, *, seconds=SECONDS, part=1, with_bf16=True, **facts):
    """The chain against its floor, the reference, the sgemm peak, itself in bf16 and without fused kernels, and peers.

    With `part` above 1 floor and reference run only that part of the steps, and their times are multiplied: they do
    the same in every step, where the engine has the weights to prepare first.
    """
    generator = seeded("noise", device=DEVICE)

    def chain(precision="float32", steps=steps, **how):
        settings = ChainSettings(steps, STEP_SIZE, NOISE_STD, precision, **how)
        return langevin(net, x, settings, generator=generator)

    replay, plain = bare_convolutions(record(net, x)), reference(net, x)

    def contestants(steps, part):
        """Each a function that runs its `steps` and returns their seconds."""
        some = max(1, steps // part)
        of_peers = {name: lambda peer=peer: peer.seconds(steps) for name, peer in (found_peers or {}).items()}
        floor = timed(repeated(replay, some, DEVICE))
        return {
            "floor": lambda: steps / some * floor(),
            **of_peers,
            "reference": lambda: steps / some * plain(some),
            **({"unfused": timed(lambda: chain(steps=steps, fused=False))} if fused.kernels(x) else {}),
            **({"bf16": timed(lambda: chain("bf16", steps))} if with_bf16 else {}),
            "sgemm": sgemm(),
        }

    def warm_up():
        """One step each, or the whole chain where a GPU's graphs are captured for it; a guess of a round's seconds."""
        n = steps if DEVICE.type == "cuda" else 1
        once = contestants(n, 1)
        seconds = {name: run() for name, run in {**once, "engine": timed(lambda: chain(steps=n))}.items()}
        of_engine, brief = seconds.pop("engine"), seconds.pop("sgemm")
        return brief + steps / n * (sum(seconds.values()) + of_engine * ((len(seconds) + 1) // 2))

    race = Race(chain, contestants(steps, part))
    race.run(benchmark, seconds=seconds, warm_up=warm_up)
    benchmark.extra_info.update(
        **race.facts(),
        **race.share_of_peak(steps * gflop(record(net.features, x))),  # the engine never runs the head
        **peak_memory(lambda: chain(steps=min(steps, 2))),
        steps=steps,
        steps_of_floor_and_reference=max(1, steps // part),
        batch=BATCH,
        side=net.side,
        channels=net.channels,
        steps_per_second=steps / race.median(),
        samples_per_second=BATCH / race.median(),
        **facts,
    )


@pytest.mark.parametrize(("n_f", "side"), SIZES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_step(benchmark, kind, n_f, side):
    net, x = make(kind, 3, side, n_f)
    race_of_chain(benchmark, net, x, 1, kernel="step", net=kind, n_f=n_f)


@pytest.mark.parametrize(("n_f", "side"), SIZES)
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_chain(benchmark, tmp_path, kind, n_f, side):
    """K steps: the plain net at side 32 against everything; the others, which take long, against less."""
    net, x = make(kind, 3, side, n_f)
    facts = {"kernel": "chain", "net": kind, "n_f": n_f}
    if kind == "plain" and side == 32:
        with peers(net, x, tmp_path) as (found, versions):
            race_of_chain(benchmark, net, x, K, found, seconds=6 * SECONDS, peers=versions, **facts)
    else:
        race_of_chain(benchmark, net, x, K, part=4, with_bf16=DEVICE.type == "cuda", **facts)


def test_digits_chain(benchmark):
    net, x = make("plain", 1, 8, 32)
    race_of_chain(benchmark, net, x, K, kernel="chain", net="plain", n_f=32)


def make_trainer(shape, **settings):
    t = trainer("ebm", shape, **settings)
    t.learner.to(DEVICE)
    return t


def arithmetic_over_chain(net, x, steps):
    """What an update's products alone make of the ratio, whatever their speed.

    Learning runs forward, and backward to weights and activations, on data and chain ends; nobody asks for the
    gradient of the images. A Langevin step is forward and backward to the image.
    """
    first, *rest = (gflop([c]) / 2 for c in record(net, x))  # of one pass
    learning = 2 * (2 * first + 3 * sum(rest))
    return 1 + learning / (steps * 2 * (first + sum(rest)))


@pytest.mark.parametrize(
    ("n_f", "shape", "steps"),
    [(16, (3, 32, 32), K), (16, (3, 32, 32), PAPER_K), (32, (3, 32, 32), K), (32, (1, 8, 8), K)],
    ids=str,
)
def test_training_update(benchmark, n_f, shape, steps):
    """One update, against the chain inside it and against the same update with the reference's chain."""
    settings = DIGITS | {"n_f": n_f, "steps": steps}
    t, plain = make_trainer(shape, **settings), make_trainer(shape, **settings)
    x = images(BATCH, shape).to(DEVICE)
    generator, norms = seeded("noise", device=DEVICE), torch.zeros(steps, device=DEVICE)

    def reference_chain(start, generator, norms, checked):
        norms.zero_()
        return chain_by_reference(plain.learner.energy, start, steps, generator)

    plain.learner.chain = reference_chain
    race = Race(
        lambda: t.step(x, generator),
        {
            "chain": timed(lambda: t.learner.chain(x, generator, norms=norms)),
            "reference": timed(lambda: plain.step(x, generator)),
        },
    )
    race.run(benchmark)
    benchmark.extra_info.update(
        **race.facts(),
        **peak_memory(lambda: t.step(x, generator)),
        kernel="training update",
        net="plain",
        n_f=n_f,
        steps=steps,
        batch=BATCH,
        side=shape[1],
        channels=shape[0],
        updates_per_second=1 / race.median(),
        arithmetic_over_chain=arithmetic_over_chain(t.learner.energy, x, steps),
        steps_per_second=steps / race.median(),
    )


def test_noise(benchmark):
    """Noise for K steps, against `normal_` of a channels-last tensor, which `randn_like` calls, and of a usual one."""
    x = torch.empty(BATCH, 3, 32, 32, device=DEVICE).contiguous(memory_format=torch.channels_last)
    generator = seeded("noise", device=DEVICE)
    same, usual = torch.empty_like(x), torch.empty(x.shape, device=DEVICE)
    race = Race(
        lambda: [draw_normal_(x, generator) for _ in range(K)],
        {
            "normal_channels_last": timed(lambda: [same.normal_(generator=generator) for _ in range(K)]),
            "normal": timed(lambda: [usual.normal_(generator=generator) for _ in range(K)]),
        },
    )
    race.run(benchmark)
    benchmark.extra_info.update(
        **race.facts(), kernel="noise", steps=K, batch=BATCH, side=32, channels=3, steps_per_second=K / race.median()
    )


def test_inversion(benchmark):
    """One iteration for a piecewise-linear energy, against double backward; its memory for a longer chain."""
    n_f = 16
    net, x = make("plain", 3, 32, n_f)
    net.requires_grad_(False)  # for both: nobody needs gradients of the weights
    generator = seeded("latents", device=DEVICE)
    z = images(BATCH, (3, 32, 32), seed=1).to(DEVICE)

    def iteration(steps=K):
        return short_run(net, (3, 32, 32), steps=steps).reconstruct(x, 1, generator)

    race = Race(iteration, {"double_backward": timed(lambda: unrolled_inversion(net, z, x, K))})
    race.run(benchmark)
    memory = {k: peak_mib(lambda k=k: iteration(k), DEVICE) for k in (10, 100)}
    unrolled = {k: peak_mib(lambda k=k: unrolled_inversion(net, z, x, k), DEVICE) for k in (10, 20)}
    benchmark.extra_info.update(
        **race.facts(),
        **peak_memory(iteration),
        kernel="inversion iteration",
        net="plain",
        n_f=n_f,
        steps=K,
        batch=BATCH,
        side=32,
        channels=3,
        steps_per_second=K / race.median(),
        memory_over_k_10=memory[100] / memory[10],  # of K = 100
        memory_mib={str(k): round(mib, 2) for k, mib in memory.items()},
        double_backward_memory_mib={str(k): round(mib, 2) for k, mib in unrolled.items()},
    )
