"""Interleaved timing: contestants take turns with the engine, and only ratios of neighbouring runs are reported."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from bench.evaluation.throughput import seconds_of
from bench.machine import runtime
from tests.kernels.memory import OF, peak_mib

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
THREADS = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
PAIRS = (5, 15)  # least and most; between them as many as SECONDS hold
SECONDS = 8.0  # of rounds, for one kernel
SGEMM = {"cpu": 2048, "cuda": 8192}[DEVICE.type]  # side of the matrices whose product is taken as the peak

Timed = Callable[[], float]  # runs once and returns seconds


def timed(function: Callable[[], Any]) -> Timed:
    """Timed as the benchmark's own tables time a sampler."""
    return lambda: seconds_of(function, DEVICE)


class Race:
    """The engine against its contestants: X1 E X2, X3 E X4, and so on, round after round.

    A contestant's ratio in a round is its time over that of the engine's run beside it, so that a drift of the
    machine cancels; what is reported is the median over the rounds. The engine's last run of a round is the one that
    pytest-benchmark times.
    """

    def __init__(self, engine: Callable[[], Any], contestants: dict[str, Timed]):
        self.engine, self.contestants = timed(engine), contestants
        names = [name for name in contestants if name != "sgemm"]
        self.groups = [names[i : i + 2] for i in range(0, len(names), 2)]
        if "sgemm" in contestants:  # brief enough for a third place beside the engine
            self.groups[-1].insert(1, "sgemm")
        self.seconds: dict[str, list[float]] = {"engine": [], **{name: [] for name in contestants}}
        self.ratios: dict[str, list[float]] = {name: [] for name in contestants}

    def run(self, benchmark: Any, *, seconds: float = SECONDS, warm_up: Callable[[], float] | None = None) -> None:
        """Warm up, then 5 to 15 rounds, as many as `seconds` hold. `warm_up` returns a guess of a round's seconds."""
        once = (warm_up or self._warm_up)()
        self.pairs = max(PAIRS[0], min(PAIRS[1], int(seconds / once)))
        for kept in (*self.seconds.values(), *self.ratios.values()):
            kept.clear()
        benchmark.pedantic(self._engine, setup=self._before, teardown=self._after, rounds=self.pairs)
        if not benchmark.enabled:  # called once, without its teardown
            self._after()

    def _warm_up(self) -> float:
        started = time.perf_counter()
        self._before()
        self._engine()
        self._after()
        return time.perf_counter() - started

    def _before(self) -> None:
        for group in self.groups[:-1]:
            self._start(group)
            self._engine()
            self._after()
        self._start(self.groups[-1])

    def _start(self, group: list[str]) -> None:
        left, *self.right = group
        self.beside = {left: self.contestants[left]()}

    def _engine(self) -> None:
        self.of_engine = self.engine()

    def _after(self) -> None:
        self._keep(self.of_engine, self.beside | {name: self.contestants[name]() for name in self.right})

    def _keep(self, engine: float, others: dict[str, float]) -> None:
        self.seconds["engine"].append(engine)
        for name, seconds in others.items():
            self.seconds[name].append(seconds)
            self.ratios[name].append(seconds / engine)

    def median(self, name: str = "engine") -> float:
        """Seconds."""
        return statistics.median(self.seconds[name])

    def facts(self) -> dict[str, Any]:
        """What goes into `extra_info`: ratios named so that their direction can be read off (`report.ratios`)."""
        facts: dict[str, Any] = {
            "device": runtime.device_name(DEVICE.type),
            "threads": torch.get_num_threads(),
            "dtype": "float32",
            "pairs": self.pairs,
            "seconds": self.median(),
            "seconds_of": {name: self.median(name) for name in self.contestants},
            "paired": {name: [round(r, 4) for r in ratios] for name, ratios in self.ratios.items()},
        }
        for name, ratios in self.ratios.items():
            if name in ("floor", "chain"):
                facts[f"time_over_{name}"] = statistics.median(1 / r for r in ratios)
            elif name == "bf16":
                facts["bf16_time_over_float32"] = statistics.median(ratios)
            elif name != "sgemm":
                facts[f"times_as_fast_as_{name}"] = statistics.median(ratios)
        return facts

    def share_of_peak(self, engine_gflop: float) -> dict[str, float]:
        """The engine's rate, and its share of that of the matrix products beside it (contestant `sgemm`)."""
        product = 2 * SGEMM**3 / 1e9
        return {
            "gflop": engine_gflop,
            "gflop_per_second": engine_gflop / self.median(),
            "sgemm_gflop_per_second": product / self.median("sgemm"),
            "share_of_sgemm_peak": statistics.median(engine_gflop * r / product for r in self.ratios["sgemm"]),
        }


def sgemm() -> Timed:
    """A large float32 matrix product, without TF32: the rate that a machine's arithmetic reaches."""
    a, b = (torch.ones(SGEMM, SGEMM, device=DEVICE) for _ in range(2))
    out = torch.empty_like(a)
    return timed(lambda: torch.mm(a, b, out=out))


def peak_memory(function: Callable[[], Any]) -> dict[str, Any]:
    return {"peak_memory_mib": round(peak_mib(function, DEVICE), 2), "peak_memory_of": OF[DEVICE.type]}
