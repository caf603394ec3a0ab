"""Results of the kernels' session, as pytest-benchmark writes them: reading, naming and comparing. No torch here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UserError

LOST = 0.10  # a ratio that is worse by more than this fraction fails a comparison

# prefixes of the keys in `extra_info` that are ratios -> whether larger is better. Nothing else is ever compared:
# a raw time is the machine's. The ratio of bf16 to float32 is none of the engine's merits, and is left out.
RATIOS = {"times_as_fast_as_": True, "share_of_": True, "time_over_": False, "memory_over_": False}


def larger_is_better(ratio: str) -> bool:
    return next(better for prefix, better in RATIOS.items() if ratio.startswith(prefix))


class Kernel(NamedTuple):
    """One measured kernel."""

    key: str  # the same in every run
    facts: dict[str, Any]  # its `extra_info`

    @property
    def ratios(self) -> dict[str, float]:
        """Name -> value."""
        return {k: v for k, v in self.facts.items() if k.startswith(tuple(RATIOS)) and isinstance(v, int | float)}


def read(path: Path) -> tuple[list[Kernel], dict[str, Any]]:
    """The kernels of a results file, and the whole of it; UserError for a file that is missing or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kernels = [Kernel(b["name"], b["extra_info"]) for b in content["benchmarks"]]
    except FileNotFoundError:
        raise UserError(f"{path} is not there: give a kernels.json that `nox -s kernels` wrote") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no result of `nox -s kernels`: give a kernels.json that it wrote") from None
    if not any(kernel.ratios for kernel in kernels):
        raise UserError(f"{path} holds no ratios: give a kernels.json that `nox -s kernels` wrote")
    return kernels, content


class Change(NamedTuple):
    """One ratio of one kernel in two runs."""

    kernel: str
    ratio: str
    old: float
    new: float

    @property
    def loss(self) -> float:
        """By which fraction the new one is worse: 0.1 where what was 2 times as fast is 1.8 times; negative: better."""
        if not (math.isfinite(self.new) and self.new > 0):
            return math.inf
        return 1 - self.new / self.old if larger_is_better(self.ratio) else self.new / self.old - 1


def compare(old: list[Kernel], new: list[Kernel]) -> tuple[list[Change], list[str]]:
    """Every ratio that both runs have, and what only the old one has, as "kernel: ratio"."""
    measured = {kernel.key: kernel.ratios for kernel in new}
    changes, gone = [], []
    for kernel in old:
        for name, value in kernel.ratios.items():
            now = measured.get(kernel.key, {}).get(name)
            if now is None:
                gone.append(f"{kernel.key}: {name}")
            elif value > 0 and math.isfinite(value):
                changes.append(Change(kernel.key, name, value, now))
    if not changes:
        raise UserError("the two results share no ratio: compare runs of the same kernels")
    return changes, gone


def verdict(changes: list[Change], gone: list[str], devices: tuple[str, str]) -> tuple[str, bool]:
    """What to print, and whether nothing was lost."""
    lost = [change for change in changes if change.loss > LOST]
    lines = [f"{c.kernel}: {c.ratio} was {c.old:.3g}, is {c.new:.3g}: {c.loss:.0%} worse" for c in lost]
    lines += [f"{name} is not in the new results: not compared" for name in gone]
    if devices[0] != devices[1]:
        lines.append(f"the runs are of different devices, {devices[0]} and {devices[1]}")
    lines.append(f"{len(lost)} of {len(changes)} ratios are worse by more than {LOST:.0%}")
    return "\n".join(lines), not lost


def device(kernels: list[Kernel]) -> str:
    return next((k.facts["device"] for k in kernels if "device" in k.facts), "unknown")
