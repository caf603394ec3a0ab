"""A cell that diverges, tried again: gentler settings, on the record, and resumed where it stood."""

from __future__ import annotations

import json

import pytest

from bench import attempts, compare
from bench.errors import UserError
from bench.model import ModelConfig
from bench.records import read_all
from bench.run_state import CHECKPOINT
from tests.builders import trainer
from tests.commands import SMOKE

# a first rate that cannot last, and a second one that is half of it and does
FRAGILE = """
from ebm.training import ShortRunTrainer
from bench.errors import DivergedError

class Fragile(ShortRunTrainer):
    def step(self, images, generator):
        if self.config.lr > LIMIT and self.updates == 6:
            raise DivergedError("too steep")
        return super().step(images, generator)
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    def make(limit):
        (tmp_path / "fragile.py").write_text(f"LIMIT = {limit}\n{FRAGILE}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "fragile", raising=False)
        settings = ["lr=1e-3", "lr_final=1e-3", "updates=10", "batch_size=16", "n_f=4", "steps=3", "sigma=0.1"]
        out = tmp_path / "out"
        sets = ["--set", *(f"Fragile.{one}" for one in settings)]
        return out, [*SMOKE, "--models", "fragile:Fragile", "--out", str(out), *sets]

    return make


def test_a_retry_is_gentler_recorded_and_not_run_again(fragile, capsys):
    out, command = fragile(limit=6e-4)
    assert compare.main([*command, "training.retries=2"]) == 0
    (record,) = read_all(out)
    assert record.data["status"] == "finished"
    (first,) = record.data["attempts"]
    assert (first["message"], first["updates"]) == ("too steep, at update 7", 6)
    assert (first["config"]["lr"], record.data["config"]["model"]["lr"]) == (1e-3, 5e-4)
    assert record.data["config"]["model"]["sigma"] == pytest.approx(0.15)
    assert "attempt 2 with sigma=0.15, sigma_final=0.045, lr=0.0005" in capsys.readouterr().err
    assert "1 finished after 1 retry" in (out / "table.md").read_text()
    assert {path.name for path in record.folder.iterdir()}.isdisjoint({attempts.ATTEMPTS, CHECKPOINT, "status.json"})
    assert compare.main([*command, "training.retries=2"]) == 0
    assert "already there (finished)" in capsys.readouterr().err


def test_without_retries_and_after_the_last_the_cell_has_diverged(fragile):
    out, command = fragile(limit=0.0)
    assert compare.main([*command, "training.retries=1"]) == 1
    (record,) = read_all(out)
    assert record.data["status"] == "diverged"
    assert len(record.data["attempts"]) == 1
    assert (record.folder / "log.csv").exists()


def test_gentler_settings():
    config = trainer("ebm", lr=1e-3, sigma=0.1).config.gentler()
    assert (config.lr, config.sigma) == (5e-4, pytest.approx(0.15))
    assert trainer("dcgan", lr=2e-4).config.gentler().lr == 1e-4
    assert trainer("vae", lr=2e-4).config.gentler().lr == 1e-4
    assert ModelConfig().gentler() is None


def test_a_damaged_list_of_attempts_is_named(tmp_path):
    tried = [attempts.Attempt("gone", 3, {"lr": 1.0})]
    attempts.write(tmp_path, tried)
    assert attempts.read(tmp_path) == tried
    wrong = {"message": "gone", "updates": "three", "config": {}}
    for content in (json.dumps([{"message": 1}]), json.dumps([wrong]), "[" * 100_000, "{"):
        (tmp_path / attempts.ATTEMPTS).write_text(content)
        with pytest.raises(UserError, match=r"attempts\.json is damaged"):
            attempts.read(tmp_path)
