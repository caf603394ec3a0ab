"""Checkpoints of a run: two are kept, damage falls back, nothing that is not finite is ever saved."""

from __future__ import annotations

import pytest
import torch

from bench.errors import NotFiniteError
from bench.grid.run_state import ROWS, RunState
from bench.grid.training import TrainingConfig
from bench.results.cell_folder import CHECKPOINT, PREVIOUS
from tests.builders import cell_folder, trainer
from tests.test_training import rows, run, weights

OFTEN = TrainingConfig(log_every=1, grids=0, checkpoint_minutes=1e-9)


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    run(trainer("ebm", updates=5), tmp_path, config=OFTEN)
    folder = cell_folder(tmp_path)
    assert RunState.start(folder, trainer("ebm", updates=5), 0).done == 5
    folder.checkpoint_path.unlink()
    assert RunState.start(folder, trainer("ebm", updates=5), 0).done == 4
    folder.rotate_checkpoints()  # there is none to make room for
    assert folder.previous_path.exists()
    folder.discard_checkpoints()
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("damaged", [[CHECKPOINT], [CHECKPOINT, PREVIOUS]])
def test_damage_falls_back_with_a_warning_and_the_end_is_the_same(damaged, tmp_path, capsys):
    whole = trainer("dcgan", updates=6)
    run(whole, tmp_path / "whole", config=OFTEN)
    t = trainer("dcgan", updates=6)
    step, done = t.step, []

    def stopping(*given):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(1)
        return step(*given)

    t.step = stopping
    with pytest.raises(KeyboardInterrupt):
        run(t, tmp_path / "cut", config=OFTEN)
    for name in damaged:
        flip(cell_folder(tmp_path / "cut").path / name)
    again = trainer("dcgan", updates=6)
    run(again, tmp_path / "cut", config=OFTEN)
    said = capsys.readouterr().err
    assert [name in said for name in (CHECKPOINT, PREVIOUS)] == [True, PREVIOUS in damaged]
    assert torch.equal(weights(again), weights(whole))
    assert [row["update"] for row in rows(tmp_path / "cut")] == [row["update"] for row in rows(tmp_path / "whole")]


def test_a_state_that_is_not_finite_is_not_saved(tmp_path):
    t = trainer("ebm", updates=5)
    folder = cell_folder(tmp_path)
    state = RunState.start(folder, t, 0)
    state.save(folder, t, 0)
    before = folder.checkpoint_path.read_bytes()
    with torch.no_grad():
        next(t.model.parameters()).view(-1)[0] = torch.inf
    with pytest.raises(NotFiniteError):
        state.save(folder, t, 0)
    assert folder.checkpoint_path.read_bytes() == before
    assert not folder.previous_path.exists()


def test_a_run_whose_weights_break_says_so(tmp_path):
    t = trainer("vae", updates=4)
    step = t.step

    def breaking(*given):
        scalars = step(*given)
        with torch.no_grad():
            next(t.model.parameters()).view(-1)[0] = torch.nan
        return scalars

    t.step = breaking
    result = run(t, tmp_path, config=OFTEN)
    assert (result.status, result.updates) == ("diverged", 1)
    assert result.message == "the trainer's weights or optimizer became not finite at update 1"


def test_a_log_is_bounded_and_keeps_the_whole_run():
    state = RunState(0, 0.0, [], {})
    for state.done in range(1, 3 * ROWS):
        state.log({"loss": 1.0})
    updates = [row["update"] for row in state.rows]
    assert len(updates) <= ROWS
    assert updates[0] == 1
    assert updates[-1] == 3 * ROWS - 1
    assert updates == sorted(set(updates))
