"""Whole runs on a GPU: twice the same, stopped and continued, against the CPU's scores, and in every precision."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import data as datasets
from bench.config import registry
from bench.config.registry import MODELS
from bench.config.settings import load_profile
from bench.contract.seeds import seeded
from bench.data import DataConfig
from bench.errors import UserError
from bench.grid.training import TrainingConfig, train
from bench.machine import runtime
from bench.results.cell_folder import CellFolder, read_all
from bench.results.record import Record
from tests.gpu.times import usable

ROOT = Path(__file__).parent.parent.parent
COMMITTED = ROOT / "results" / "reference" / "digits"  # the quick profile's, on a CPU
LONG = 3000  # updates: some seconds on a GPU, so that there is time for a signal
PATIENCE = 300  # seconds for a training to begin

Found = dict[str, Any]


def compare(arguments: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    """`python -m bench.compare`; what it says goes to the terminal."""
    command = [sys.executable, "-m", "bench.compare", "--quiet", *arguments, "--out", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def finished(arguments: Sequence[str], out: Path) -> Path:
    """The results of a run; UserError when it does not end well."""
    if status := compare(arguments, out).wait():
        raise UserError(f"bench.compare {' '.join(arguments)} ended with status {status}: see above")
    return out


def pictures(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("cells/**/*.png"))}


def differences(one: Path, two: Path) -> list[str]:
    """Pictures and scores in which two runs differ."""
    a, b = pictures(one), pictures(two)
    found = [name for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
    for first, second in zip(read_all(one), read_all(two), strict=True):
        if first.metrics != second.metrics:
            found.append(f"scores of {first.model}")
    return sorted(found)


def smoke(folder: Path) -> Found:
    """The smoke profile of every model twice on the GPU, which must agree in every byte, and once on the CPU."""
    arguments = ["--profile", "smoke", "--models", *MODELS]
    first, second = (finished([*arguments, "--device", "cuda"], folder / name) for name in ("one", "two"))
    there = finished([*arguments, "--device", "cpu"], folder / "cpu")
    different = differences(first, second)
    return {"good": not different, "different": different, "scores": against(read_all(first), read_all(there))}


def resume(folder: Path) -> Found:
    """A run that SIGTERM stops, and that the same command continues, ends as one that was never stopped."""
    arguments = ["--profile", "smoke", "--models", "ebm", "dcgan", "--device", "cuda", "--set", "training.grids=0"]
    arguments += [f"ebm.updates={LONG}", f"dcgan.updates={LONG}"]
    whole = finished(arguments, folder / "whole")
    stopped = folder / "stopped"
    process = compare(arguments, stopped)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline and not _some_updates(stopped):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    cells = [cell.read_status() for cell in CellFolder.all_in(stopped)]
    at = [one.update for one in cells if one is not None and one.state == "interrupted"]
    different = differences(whole, finished(arguments, stopped))
    good = status == 128 + signal.SIGTERM and not different
    return {"good": good, "status": status, "stopped_at": at, "of": LONG, "different": different}


def _some_updates(out: Path) -> bool:
    """Whether a cell has been training for some updates."""
    found = (cell.read_status() for cell in CellFolder.all_in(out))
    return any(one is not None and one.state == "training" and one.update > 0 for one in found)


def quick(folder: Path) -> Found:
    """The quick profile's first seed on the GPU, against the committed scores of all its seeds on a CPU."""
    committed = read_all(COMMITTED)
    models = sorted({record.model for record in committed})
    out = finished(["--profile", "quick", "--seeds", "100", "--models", *models, "--device", "cuda"], folder)
    scores = against(read_all(out), committed)
    return {"good": bool(scores), "scores": scores}


def against(records: Sequence[Record], others: Sequence[Record]) -> list[Found]:
    """Every score beside those of the same model's other records: mean and, of several, standard deviation."""
    rows = []
    for record in records:
        same = [one for one in others if (one.dataset, one.model) == (record.dataset, record.model)]
        for metric in record.metrics:
            values = [m["value"] for one in same for m in one.metrics if _name(m) == _name(metric)]
            if values:
                row = {"model": record.model, "score": metric["label"], "gpu": metric["value"]}
                deviation = statistics.stdev(values) if len(values) > 1 else None
                rows.append(row | {"cpu": statistics.fmean(values), "deviation": deviation, "seeds": len(values)})
    return rows


def _name(metric: Found) -> tuple[str, str]:
    return metric["group"], metric["name"]


def precisions(folder: Path, device: torch.device, *, updates: int = 300, **settings: Any) -> Iterable[Found]:
    """The paper's model of CIFAR-10 (n_f = 128) for some updates in each precision of its chain, on enlarged digits.

    What it ends with is the last row of its log; nothing is scored.
    """
    factory = registry.factory("ebm")
    own = load_profile("paper").settings("cifar10", "ebm") | {"updates": updates} | settings
    small = datasets.load("digits", folder, DataConfig(), progress=False).train  # of side 8
    digits = small.repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)
    watched = TrainingConfig(log_every=10, grids=0)
    for precision in usable(device):
        config = factory.Config(**own | {"precision": precision})
        trainer = factory(config, (3, 32, 32), generator=seeded(0, "weights"), device=device)
        runtime.release_memory(device)
        runtime.reset_peak_memory(device)
        cell = CellFolder(folder, "digits", f"ebm-{precision}", 0)
        result = train(trainer, digits.to(device), seed=0, folder=cell, config=watched, progress=False)
        peak, _ = runtime.peak_memory(device)
        yield {
            "precision": precision,
            "status": result.status,
            "message": result.message,
            "updates": result.updates,
            "seconds_an_update": result.seconds / max(1, result.updates),
            "peak_memory_mib": peak,
            "last": result.last,
        }
