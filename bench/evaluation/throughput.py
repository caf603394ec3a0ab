"""Time and throughput: one measurement for tables and kernels benchmark, on any device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.contract.model import GenerativeModel
from bench.contract.scores import Throughput
from bench.contract.seeds import seeded
from bench.machine import runtime


def seconds_of(function: Callable[[], Any], device: torch.device) -> float:
    """Seconds that one call takes; a GPU is waited for before each reading of the clock."""
    runtime.synchronize(device)
    started = time.perf_counter()
    function()
    runtime.synchronize(device)
    return time.perf_counter() - started


@torch.no_grad()
def sampler_throughput(model: GenerativeModel, *, batch_size: int, repeats: int, seed: int) -> Throughput:
    """Samples/s and network evaluations/s of `model.sample`.

    The median of `repeats` timed batches after one that is not counted. Peak memory is of tensors on a GPU while
    sampling, or of the whole process on a CPU (None where the system does not say).
    """
    device = model.device
    runtime.release_memory(device)
    model.sample(batch_size, seeded(seed, "warm-up", device=device))
    runtime.synchronize(device)
    runtime.reset_peak_memory(device)
    seconds = []
    for repeat in range(repeats):
        generator = seeded(seed, "throughput", repeat, device=device)
        seconds.append(seconds_of(lambda generator=generator: model.sample(batch_size, generator), device))
    rate = batch_size / statistics.median(seconds)
    peak, peak_of = runtime.peak_memory(device)
    return Throughput(
        samples_per_second=rate,
        samples_per_second_range=(batch_size / max(seconds), batch_size / min(seconds)),
        evaluations_per_second=rate * model.evaluations_per_sample,
        batch_size=batch_size,
        repeats=repeats,
        device=runtime.device_name(device.type),
        dtype=model.sampling_dtype,
        threads=torch.get_num_threads(),
        peak_memory_mib=None if peak is None else round(peak, 1),
        peak_memory_of=peak_of,
    )
