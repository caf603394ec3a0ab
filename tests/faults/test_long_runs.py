"""What hours would show: memory that does not grow, checkpoints that cost next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median

import pytest
import torch

from bench.config import registry
from bench.config.settings import build, load_profile
from bench.contract.seeds import seeded
from bench.grid.run_state import RunState
from bench.grid.training import TrainingConfig
from tests.builders import cell_folder
from tests.faults.processes import ROOT, SMOKE

UPDATES, WARM = 2000, 500
GROWTH = 0.02
SHARE = 0.02
GRIDS = 4

# a process of its own, since what other tests have freed would hide what this one takes
MEASURE = f"""
import json, os, sys
from pathlib import Path
import psutil, torch
from bench.contract.images import to_uint8
from bench.grid.training import TrainingConfig, train
from bench.machine import runtime
from bench.results.status import StatusWriter
from tests.builders import cell_folder, images, trainer

runtime.configure(1)
process, sizes, kept, folder = psutil.Process(), [], [], cell_folder(Path(sys.argv[1]))
class Watch(StatusWriter):
    def training(self, done, total, scalars):
        super().training(done, total, scalars)
        sizes.append(process.memory_info().rss)
        kept.append(os.urandom(int(sys.argv[3])))
t = trainer(sys.argv[2], updates={UPDATES})
config = TrainingConfig(log_every=1, grids=0, checkpoint_minutes=0.01)
status = Watch(folder.write_status, every=0.05)
train(t, to_uint8(images(64)), seed=0, folder=folder, config=config, status=status, progress=False)
assert len(sizes) == {UPDATES}
print(json.dumps(sizes))
"""


def resident(model, folder, leak=0):
    """Bytes after the warm-up and at the end; `leak` of them are kept on purpose in each update."""
    command = [sys.executable, "-c", MEASURE, str(folder), model, str(leak)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    sizes = json.loads(done.stdout)
    return median(sizes[WARM : WARM + 100]), median(sizes[-100:])


@pytest.mark.parametrize("model", ["ebm", "vae", "dcgan"])
def test_memory_does_not_grow(model, tmp_path, measured):
    """Log rows, checkpoints and statuses are written all along, far more often than in a real run."""
    early, late = resident(model, tmp_path)
    measured(f"{model}: {early / 2**20:.1f} MiB after {WARM} updates, {late / 2**20:.1f} MiB after {UPDATES}")
    assert late <= (1 + GROWTH) * early


def test_a_leak_would_be_seen(tmp_path):
    early, late = resident("vae", tmp_path, leak=16 * 2**10)
    assert late > (1 + GROWTH) * early


@pytest.mark.parametrize("profile", ["cpu", "quick"])
@pytest.mark.parametrize("model", ["ebm", "vae", "dcgan"])
def test_checkpoints_cost_little(profile, model, tmp_path, measured):
    """The time of writing one, over the time between two; in `cpu`, of its larger images."""
    settings = load_profile(profile)
    dataset, shape = {"cpu": ("cifar10", (3, 32, 32)), "quick": ("digits", (1, 8, 8))}[profile]
    assert dataset in settings.datasets
    factory = registry.factory(model)
    config = build(factory.Config, settings.settings(dataset, model), model)
    trainer = factory(config, shape, generator=seeded(0, "weights"), device=torch.device("cpu"))
    batch = torch.rand(config.batch_size, *shape, generator=seeded("images")) * 2 - 1
    trainer.step(batch, seeded("update"))  # the optimizers have their state from here on
    row = {f"scalar {k}": 0.123456789 for k in range(12)}
    run_state = RunState(config.updates, 1e4, [row] * 1000, row)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run_state.save(cell_folder(tmp_path), trainer, 0)
        seconds.append(time.perf_counter() - started)
    interval = 60 * TrainingConfig().checkpoint_minutes
    size = cell_folder(tmp_path).checkpoint_path.stat().st_size / 2**20
    share = median(seconds) / interval
    measured(f"{profile} {model}: {size:.1f} MiB in {1000 * median(seconds):.0f} ms, {share:.4%} of {interval:.0f} s")
    assert share < SHARE


def test_checkpoints_are_not_written_more_often_than_asked_for(tmp_path):
    """At the default interval a run of seconds writes one for each grid of samples, and the last."""
    long = [*SMOKE, "--models", "vae", "--set", "vae.updates=100", f"training.grids={GRIDS}"]
    code = (
        "import sys, bench.grid.run_state as s\n"
        "save, n = s.RunState.save, []\n"
        "def count(*given):\n    n.append(1)\n    save(*given)\n"
        "s.RunState.save = count\n"
        "from bench.compare import main\n"
        "status = main(sys.argv[1:])\n"
        "print('saved', len(n), file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    command = [sys.executable, "-c", code, *long, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"saved {GRIDS}" in done.stderr.splitlines()
