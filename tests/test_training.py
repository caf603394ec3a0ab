"""The one training loop: order of data, log, checkpoints, resumption, divergence."""

from __future__ import annotations

import csv

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.contract.images import to_uint8
from bench.errors import NotFiniteError, UserError
from bench.grid.batches import PAGE, Batches, batch_indices
from bench.grid.training import TrainingConfig, train
from bench.storage.checkpoint import load_checkpoint, save_checkpoint
from ebm.training import ShortRunTrainer
from tests.builders import cell_folder, images, trainer

DATA = to_uint8(images(20))
WATCH = TrainingConfig(log_every=2, grids=2)


def run(t, out, seed=0, config=WATCH, data=DATA, **options):
    return train(t, data, seed=seed, folder=cell_folder(out), config=config, progress=False, **options)


def weights(t):
    return torch.cat([p.detach().flatten() for p in t.model.parameters()])


def rows(out):
    with open(cell_folder(out).log_path, newline="") as file:
        return list(csv.DictReader(file))


@given(n=st.integers(4, 60), batch=st.integers(2, 12), epoch=st.integers(0, 3))
def test_an_epoch_shows_no_image_twice(n, batch, epoch):
    if n < batch:
        assert batch_indices(n, batch, epoch, 0).shape == (batch,)
        return
    per_epoch = n // batch
    seen = torch.cat([batch_indices(n, batch, epoch * per_epoch + i, 0) for i in range(per_epoch)])
    assert len(set(seen.tolist())) == len(seen) == per_epoch * batch
    assert seen.min() >= 0
    assert seen.max() < n


def test_epochs_and_seeds_differ():
    first, second = batch_indices(1000, 10, 0, 0), batch_indices(1000, 10, 100, 0)
    assert not torch.equal(first, second)
    assert not torch.equal(first, batch_indices(1000, 10, 0, 1))
    assert torch.equal(first, batch_indices(1000, 10, 0, 0))


@pytest.mark.parametrize(("n", "updates"), [(20, 12), (5, 2 * PAGE + 1)])
def test_batches_are_those_of_their_updates(n, updates):
    """In order, and from the middle of an epoch on, as a continued run takes them."""
    data = torch.arange(n)
    for first in (0, updates // 2):
        batches = Batches(data, 8, 3, flip=False)
        for update in range(first, updates):
            assert torch.equal(batches(update), batch_indices(n, 8, update, 3))


def test_batches_are_drawn_once_an_epoch(monkeypatch):
    drawn = []
    monkeypatch.setattr(torch, "randperm", lambda n, generator: drawn.append(n) or torch.arange(n))
    batches = Batches(torch.arange(40), 8, 0, flip=False)
    for update in range(12):
        batches(update)
    assert drawn == [40, 40, 40]


def test_log_and_grids(tmp_path):
    grids = []
    result = run(trainer("ebm", updates=7), tmp_path, save_grid=grids.append)
    assert result.updates == 7
    assert result.seconds > 0
    assert result.status == "finished"
    assert [int(row["update"]) for row in rows(tmp_path)] == [1, 2, 4, 6, 7]
    assert float(rows(tmp_path)[-1]["energy gap"]) == pytest.approx(result.last["energy gap"])
    assert grids == [4, 7]


class StopError(Exception):
    """The fault that the test injects."""


@pytest.mark.parametrize("name", ["ebm", "vae", "dcgan", "flow"])
def test_a_continued_run_equals_one_never_interrupted(name, tmp_path):
    whole = trainer(name, updates=9)
    expected = run(whole, tmp_path / "whole")

    broken = trainer(name, updates=9)
    step, done = broken.step, []

    def failing_step(*arguments):
        if len(done) == 6:
            raise StopError
        done.append(1)
        return step(*arguments)

    broken.step = failing_step
    often = TrainingConfig(log_every=2, grids=0, checkpoint_minutes=1e-9)
    with pytest.raises(StopError):
        run(broken, tmp_path / "broken", config=often)

    continued = trainer(name, updates=9)
    result = run(continued, tmp_path / "broken")
    assert torch.equal(weights(continued), weights(whole))
    assert result.last == expected.last
    assert [row["update"] for row in rows(tmp_path / "broken")] == [row["update"] for row in rows(tmp_path / "whole")]


def test_checkpoint_of_other_settings_is_refused(tmp_path):
    run(trainer("ebm", updates=2), tmp_path)
    with pytest.raises(UserError, match=r"left by a run with other settings: .* move the folder") as caught:
        run(trainer("ebm", updates=3), tmp_path)
    assert str(cell_folder(tmp_path).path) in str(caught.value)
    with pytest.raises(UserError, match="left by a run with other settings"):
        run(trainer("ebm", updates=2), tmp_path, seed=1)


def test_divergence_stops_and_says_where(tmp_path):
    result = run(trainer("ebm", updates=5, step_size=1e30), tmp_path)
    assert result.updates == 1
    assert "at update 1" in result.message
    assert not cell_folder(tmp_path).checkpoint_path.exists()
    assert len(rows(tmp_path)) == 1


def test_checkpoint_keeps_every_kind_of_value(tmp_path):
    state = {"a": {0: torch.arange(3), "b": [1, 2.5, None, True, "word"]}, "t": (torch.ones(2, 2).t(),)}
    save_checkpoint(tmp_path / "c", state, {"note": 1})
    loaded, description = load_checkpoint(tmp_path / "c")
    assert torch.equal(loaded["a"][0], torch.arange(3))
    assert loaded["a"]["b"] == [1, 2.5, None, True, "word"]
    assert torch.equal(loaded["t"][0], torch.ones(2, 2))
    assert description == {"note": 1}


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\0" * len(b)])
def test_damaged_checkpoint_is_named(tmp_path, damage):
    path = tmp_path / "c"
    save_checkpoint(path, {"a": torch.ones(3)}, {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"cannot read the checkpoint .* move it away"):
        load_checkpoint(path)


def test_a_chain_or_grid_that_is_not_finite_ends_the_run_with_its_updates_counted(tmp_path):
    def fail(*_):
        raise NotFiniteError("the chain broke")

    t = trainer("ebm", updates=8)
    result = run(t, tmp_path / "grid", save_grid=fail)
    assert (result.updates, result.message) == (4, "the chain broke, in the sample grid at update 4")
    assert rows(tmp_path / "grid")
    t, step = trainer("ebm", updates=8), ShortRunTrainer.step
    t.step = lambda *given: fail() if t.updates == 3 else step(t, *given)
    result = run(t, tmp_path / "step")
    assert (result.updates, result.message) == (3, "the chain broke, at update 4")


def test_chains_that_lose_the_data_for_good_end_the_run(tmp_path):
    """A chain whose steps are too small to reach anything: soon every one of its ends has the higher energy."""
    still = {"step_size": 1e-9, "noise_std": 0.0, "sigma": 0.0, "sigma_final": 0.0, "lr": 1e-3}
    flat = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    lost = run(trainer("ebm", updates=60, lost_after=10, **still), tmp_path, data=flat)
    assert lost.status == "diverged"
    assert lost.updates < 60
    assert lost.message == (
        f"the chains have lost the data: told apart without error for 10 updates, at update {lost.updates + 1}"
    )
    assert [float(row["AUROC(data, chain)"]) for row in rows(tmp_path)][-4:] == [1.0] * 4
    unguarded = trainer("ebm", updates=60, lost_after=0, **still)
    whole = run(unguarded, tmp_path / "whole", data=flat)
    assert whole.status == "finished"
