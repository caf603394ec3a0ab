"""Times of the chain and of a training update at the paper's sizes: against the floor, captured alike, and peers."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from bench.config import registry
from bench.contract.precision import PRECISIONS, check_precision
from bench.contract.seeds import seeded
from bench.evaluation.throughput import seconds_of
from bench.machine import runtime
from ebm.engine import fused
from ebm.langevin import ChainSettings, langevin
from tests.builders import energy_net, images
from tests.kernels.floor import Recorded, gflop, record, repeated
from tests.kernels.subjects import NOISE_STD, STEP_SIZE, peers

SIZES = ((32, 32), (64, 32), (128, 32), (32, 64), (64, 64))  # n_f, side
AGAINST_PEERS = ((32, 32), (128, 32))
K, BATCH = 100, 64  # the paper's
ROUNDS, OF_PEERS = 5, 3
KERNELS = 15  # of a replay, the longest

Runs = dict[str, Callable[[], Any]]


def usable(device: torch.device) -> list[str]:
    """The precisions that the device has."""

    def is_there(precision: str) -> bool:
        try:
            check_precision(precision, device)
        except ValueError:
            return False
        return True

    return [one for one in PRECISIONS if is_there(one)]


def in_turns(runs: Runs, device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each: every round runs all of them once, after two runs of each that are not counted."""
    for run in runs.values():
        run()
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(seconds_of(run, device))
    return {n: {"median": statistics.median(s), "least": min(s), "most": max(s)} for n, s in found.items()}


def convolutions(found: list[Recorded], dtype: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    """The net's convolutions, forward and backward to the input, in a type and a layout."""
    calls = []
    for c in found:
        gradient = torch.ones(c.output, device=c.input.device)
        calls.append([t.to(dtype).contiguous(memory_format=layout) for t in (c.input, c.weight, gradient)])

    @torch.no_grad()
    def run() -> None:
        for c, (value, weight, gradient) in zip(found, calls, strict=True):
            F.conv2d(value, weight, None, c.stride, c.padding)
            options = [c.stride, c.padding, [1, 1], False, [0, 0], 1, [True, False, False]]
            torch.ops.aten.convolution_backward(gradient, value, weight, None, *options)

    return run


def chains_and_updates(net: Any, x: torch.Tensor, steps: int, device: torch.device) -> Runs:
    """The contestants of one size but for the peers."""
    generator, norms = seeded("n", device=device), torch.empty(steps, device=device)
    found, precisions = record(net.features, x), usable(device)
    factory = registry.factory("ebm")

    def update(precision: str) -> Callable[[], Any]:
        n_f = net.features[0].weight.shape[0]
        config = factory.Config(batch_size=len(x), n_f=n_f, steps=steps, precision=precision, lost_after=0)
        trainer = factory(config, tuple(x.shape[1:]), generator=seeded("weights"), device=device)
        return lambda: trainer.step(x, generator)

    def chain(precision: str, **how: Any) -> Callable[[], Any]:
        settings = ChainSettings(steps, STEP_SIZE, NOISE_STD, precision, **how)
        return lambda: langevin(net, x, settings, generator=generator, norms=norms)

    runs: Runs = {f"chain {one}": chain(one) for one in precisions}
    if fused.kernels(x) is not None:
        runs |= {f"chain {one}, unfused": chain(one, fused=False) for one in precisions}
    types = {"float32": torch.float32} | ({"bf16": torch.bfloat16} if "bf16" in precisions else {})
    for name, dtype in types.items():
        for layout, form in (("NHWC", torch.channels_last), ("NCHW", torch.contiguous_format)):
            runs[f"floor {name} {layout}"] = repeated(convolutions(found, dtype, form), steps, device)
    return runs | {f"update {one}": update(one) for one in precisions}


def of_peers(net: Any, x: torch.Tensor, steps: int) -> dict[str, Any]:
    """Seconds of each peer's chain, each in a process of its own, or that it is not there."""
    with tempfile.TemporaryDirectory() as folder, peers(net, x, Path(folder)) as (found, versions):
        seconds = {n: statistics.median(peer.seconds(steps) for _ in range(OF_PEERS)) for n, peer in found.items()}
    return {"seconds": seconds, "versions": versions}


def kernels(net: Any, x: torch.Tensor, steps: int, precision: str) -> list[dict[str, Any]]:
    """Where a replay's time goes: the longest kernels."""
    generator, settings = seeded("n", device=x.device), ChainSettings(steps, STEP_SIZE, NOISE_STD, precision)
    langevin(net, x, settings, generator=generator)
    with torch.profiler.profile() as profile:
        langevin(net, x, settings, generator=generator)
        runtime.synchronize(x.device)
    rows = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)[:KERNELS]
    return [{"kernel": row.key[:120], "calls": row.count, "us": row.self_device_time_total} for row in rows]


def one_size(n_f: int, side: int, device: torch.device, *, steps: int = K, batch: int = BATCH) -> dict[str, Any]:
    """Medians of the chain, its floor and a training update in each precision, and the arithmetic of a chain."""
    net = energy_net("plain", 3, side, n_f).to(device=device, memory_format=torch.channels_last)
    x = images(batch, (3, side, side)).to(device)
    work = steps * gflop(record(net.features, x)) / 1e3
    seconds = in_turns(chains_and_updates(net, x, steps, device), device, ROUNDS)
    for entry in seconds.values():
        entry["tflop_per_second"] = work / entry["median"]
    return {"n_f": n_f, "side": side, "batch": batch, "steps": steps, "tflop": work, "seconds": seconds}


def measured(device: torch.device) -> Iterable[dict[str, Any]]:
    """Every size in turn; peers and kernels at some."""
    for n_f, side in SIZES:
        found = one_size(n_f, side, device)
        net = energy_net("plain", 3, side, n_f).to(device=device, memory_format=torch.channels_last)
        x = images(BATCH, (3, side, side)).to(device)
        if (n_f, side) in AGAINST_PEERS:
            found["peers"] = of_peers(net, x, K)
            found["kernels"] = {one: kernels(net, x, K, one) for one in usable(device)}
        yield found
