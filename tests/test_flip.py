"""Mirrored training batches: which images, how many, and that nothing else changes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.contract.images import to_uint8
from bench.contract.seeds import seeded
from bench.data import DataConfig, load
from bench.errors import UserError
from bench.grid import budget
from bench.grid.batches import Batches, mirrored
from bench.grid.cell import Cell
from bench.racing import runner
from bench.racing.lanes import Lane
from bench.racing.turns import Rules
from bench.tuning import trial
from tests import timed
from tests.builders import images, stop_at, trainer
from tests.data_layouts import write_folder
from tests.evaluation_builders import bytes_of
from tests.test_training import StopError, run, weights
from tests.test_tuning import cells

DATA = to_uint8(images(20))


def test_a_mirrored_image_has_its_columns_reversed_and_half_of_them_are():
    given = torch.arange(4096 * 2 * 3 * 3).reshape(4096, 2, 3, 3)
    found = mirrored(given, seeded("flip"))
    turned = (found != given).flatten(1).any(1)
    assert torch.equal(found[turned], given[turned][..., [2, 1, 0]])
    assert abs(int(turned.sum()) - 2048) < 4 * 32  # four standard deviations of a fair coin


def test_the_same_images_are_drawn_and_mirroring_is_of_seed_and_update():
    plain, flipped = (Batches(DATA, 8, 3, flip=flip) for flip in (False, True))
    later = Batches(DATA, 8, 3, flip=True)
    seen = []
    for update in range(6):
        own, turned = plain(update), flipped(update)
        kept = (own == turned).flatten(1).all(1)
        assert torch.equal(turned[~kept], own[~kept].flip(-1))
        seen.append(tuple(kept.tolist()))
        if update >= 3:  # as a continued run takes them
            assert torch.equal(later(update), turned)
    assert len(set(seen)) > 1
    assert not torch.equal(Batches(DATA, 8, 4, flip=True)(0), flipped(0))


def test_a_mirrored_run_is_another_and_is_continued_exactly(tmp_path):
    plain, whole, again = (trainer("vae", updates=8) for _ in range(3))
    run(plain, tmp_path / "plain")
    run(whole, tmp_path / "whole", flip=True)
    assert not torch.equal(weights(whole), weights(plain))
    with pytest.raises(StopError):
        run(stop_at(trainer("vae", updates=8), 6, StopError), tmp_path / "cut", save_grid=lambda _: None, flip=True)
    with pytest.raises(UserError, match="left by a run with other settings"):
        run(trainer("vae", updates=8), tmp_path / "cut")
    run(again, tmp_path / "cut", flip=True)
    assert torch.equal(weights(again), weights(whole))


def test_races_trials_and_their_timing_mirror_alike(tmp_path, monkeypatch):
    made = []

    class Noting(Batches):
        def __init__(self, *given, flip):
            made.append(flip)
            super().__init__(*given, flip=flip)

    for module in (budget, runner, trial):
        monkeypatch.setattr(module, "Batches", Noting)
    cpu, data = torch.device("cpu"), bytes_of(4, 0)
    track = runner.Track(data, cpu, Rules(seconds=10.0), lambda _: 1.0, {}, "", timed.Clock())
    for flip in (True, False):
        (one,) = cells(tmp_path / str(flip), 0)
        one: Cell = dataclasses.replace(one, data=DataConfig(flip=flip))
        trial.run(one, {}, data, timed.Yardstick(), cpu, seconds=8.0, clock=timed.Clock())
        runner.Runner(one, Lane("toy", 0, 5), track)
    assert made == 3 * [True] + 3 * [False]


def test_no_other_images_see_it_and_the_record_says_it(tmp_path):
    write_folder(tmp_path / "set", 30)
    plain, flipped = (
        load(f"folder:{tmp_path / 'set'}", tmp_path, DataConfig(28, 2, validation=6, flip=flip), progress=False)
        for flip in (False, True)
    )
    for part in ("train", "held_out", "validation"):
        assert torch.equal(getattr(plain, part), getattr(flipped, part))
    assert plain.content_hash == flipped.content_hash
    assert set(flipped.notes) - set(plain.notes) == {
        "each image of a training batch is mirrored with probability one half"
    }
    assert DataConfig(flip=True).settings()["flip"] is True
    assert "flip" not in DataConfig().settings()
    with pytest.raises(ValueError, match=r"flip=1 .* true or false"):
        DataConfig(flip=1)
