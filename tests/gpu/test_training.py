"""Training on a real GPU: repeatable, continued bit for bit, one wait an update, memory that does not grow."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch

from bench.config.registry import MODELS
from bench.contract.images import to_uint8
from bench.contract.seeds import seeded
from bench.grid.training import TrainingConfig, train
from tests.builders import cell_folder, images, stop_at
from tests.gpu.needed import CUDA, needs_gpu, precisions, trainer_on_gpu, weights

pytestmark = needs_gpu
every_model = pytest.mark.parametrize("name", sorted(MODELS))
SHAPE = (3, 32, 32)


def run(name, folder, stop_before=None, precision="float32"):
    """Eight updates, with a checkpoint after the fourth; a trainer that stops leaves that one."""
    t = stop_at(trainer_on_gpu(name, SHAPE, updates=8, batch_size=16), stop_before)
    config = TrainingConfig(log_every=1, grids=2, precision=precision)
    options = {"config": config, "save_grid": lambda _: None, "progress": False}
    data = to_uint8(images(64, SHAPE)).to(CUDA)
    with contextlib.suppress(InterruptedError):
        train(t, data, seed=0, folder=cell_folder(folder), **options)
    return t


@pytest.mark.parametrize("precision", precisions())
@every_model
def test_training_is_a_function_of_its_seed_and_can_be_continued(name, precision, tmp_path):
    whole, again = (run(name, tmp_path / one, precision=precision) for one in ("whole", "again"))
    assert torch.equal(weights(whole), weights(again)), "a kernel that is not repeatable"
    if precision == "bf16":
        assert not torch.equal(weights(whole), weights(run(name, tmp_path / "full")))
    run(name, tmp_path / "stopped", stop_before=5, precision=precision)
    continued = run(name, tmp_path / "stopped", precision=precision)
    assert torch.equal(weights(continued), weights(whole))
    held = [part for value in vars(continued).values() for part in (value if isinstance(value, list) else [value])]
    for optimizer in (part for part in held if isinstance(part, torch.optim.Optimizer)):
        for weight, state in optimizer.state.items():
            assert state["step"].device.type == "cpu"  # or each update waits for it, weight by weight
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()


@every_model
def test_an_update_waits_once(name):
    """torch warns of each wait; the one is for the log."""
    t, x = trainer_on_gpu(name, SHAPE), images(8, SHAPE).to(CUDA)
    for update in range(2):
        t.step(x, seeded(update, device=CUDA))
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            t.step(x, seeded("u", device=CUDA))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in found if "synchroniz" in str(one.message)]
    assert len(waits) <= 1, waits


@every_model
def test_memory_does_not_grow(name):
    t, x = trainer_on_gpu(name, SHAPE), images(8, SHAPE).to(CUDA)
    for update in range(3):
        t.step(x, seeded(update, device=CUDA))
    torch.cuda.synchronize()
    before = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    for update in range(50):
        t.step(x, seeded(update, device=CUDA))
    torch.cuda.synchronize()
    assert (torch.cuda.memory_reserved(), torch.cuda.memory_allocated()) == before


@every_model
def test_no_global_generator_is_touched(name):
    before = torch.cuda.get_rng_state()
    t = trainer_on_gpu(name, SHAPE)
    t.step(images(8, SHAPE).to(CUDA), seeded("u", device=CUDA))
    t.model.sample(4, seeded("s", device=CUDA))
    assert torch.equal(torch.cuda.get_rng_state(), before)
