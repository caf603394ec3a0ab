"""Runs that come to nothing are outcomes: recorded, shown, and no harm to the cells beside them."""

from __future__ import annotations

import csv

import pytest

from bench.results.cell_folder import CHECKPOINT, LOG, read_all
from bench.status import lines
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import PROJECTION, SMOKE, run

# 40 updates: the rate makes the energies overflow within a dozen, and a checkpoint is written after each
WILD = ["--set", "ebm.updates=40", "ebm.lr=1e6", "ebm.lr_final=1e6", "training.checkpoint_minutes=1e-9"]


def finite(node):
    if isinstance(node, dict):
        return all(map(finite, node.values()))
    if isinstance(node, list):
        return all(map(finite, node))
    return bool(node.isfinite().all()) if hasattr(node, "isfinite") else True


def records(out):
    return {record.model: record for record in read_all(out)}


def test_divergence(tmp_path, measured):
    done = run([*SMOKE, *PROJECTION, *WILD, "--models", "ebm", "vae", "--out", tmp_path])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    made = records(tmp_path)
    assert made["vae"].finished
    ebm = made["ebm"]
    assert ebm.data["status"] == "diverged"
    assert "at update" in ebm.data["message"]
    assert ebm.data["training"]["updates"] < 40
    state, description = load_checkpoint(ebm.folder / CHECKPOINT)
    assert finite(state)
    assert 0 < description["done"] <= ebm.data["training"]["updates"]
    with open(ebm.folder / LOG, newline="") as file:
        assert len(list(csv.DictReader(file))) >= 2
    assert "diverged at update" in done.stdout
    assert "diverged at update" in (tmp_path / "table.md").read_text()
    assert [line.state for line in lines(tmp_path)] == ["diverged", "finished"]
    measured(f"divergence: {ebm.data['message']}; last finite checkpoint of update {description['done']}")

    again = run([*SMOKE, *PROJECTION, *WILD, "--models", "ebm", "vae", "--out", tmp_path])
    assert again.returncode == 1
    assert "already there (diverged)" in again.stderr
    assert (ebm.folder / CHECKPOINT).exists()


def test_the_message_names_the_settings_to_try(tmp_path):
    done = run([*SMOKE, *PROJECTION, *WILD, "--models", "ebm", "--out", tmp_path])
    assert done.returncode == 1, done.stderr
    (record,) = read_all(tmp_path)
    assert record.data["config"]["model"]["lr"] == 1e6
    assert "try --set ebm.lr=500000" in record.data["message"]


@pytest.mark.parametrize(("name", "updates"), [("OutOfMemory", 2), ("OutOfMemoryLater", 10)])
def test_out_of_memory(name, updates, tmp_path):
    model = f"tests.faults.own_models:{name}"
    done = run([*SMOKE, *PROJECTION, "--models", model, "vae", "--set", "training.grids=0", "--out", tmp_path])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    made = {record.data["status"]: record for record in read_all(tmp_path)}
    assert made["finished"].model == "vae"
    failed = made["oom"]
    assert "out of memory" in failed.data["message"]
    assert "\n" not in failed.data["message"]
    assert failed.data["training"]["updates"] == updates
    assert "out of memory" in (tmp_path / "table.md").read_text()


def test_a_mistake_in_a_model_is_no_divergence(tmp_path):
    """It is shown as Python shows it, and no record is made of it: the cell runs again when it is mended."""
    done = run([*SMOKE, *PROJECTION, "--models", "tests.faults.own_models:Faulty", "--out", tmp_path])
    assert done.returncode == 1
    assert "ZeroDivisionError: a mistake in the model" in done.stderr
    assert not read_all(tmp_path)
    assert [line.state for line in lines(tmp_path)] == ["interrupted"]
