"""Trackers: each package's own reader finds what a run logged, drew and scored; and a run does not depend on one."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
import torch

from bench import tracking
from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.grid.training import TrainingConfig, train
from bench.results.cell_folder import CellFolder
from bench.tracking import Trackers, check, fit, flat
from tests import fabricate
from tests.builders import trainer

CONFIG = {"dataset": "digits", "model": {"steps": 20, "beta1": 0.5, "ema": True}, "data": {"sides": (8, 8)}}


def tracked(name, out: Path, updates=(1, 2), status="finished") -> dict:
    """A cell that a tracker watched, its record and its pictures being fabricated; the record."""
    record = fabricate.record("digits", "ebm", 0, diverged_at=2 if status == "diverged" else None)
    record["training"]["updates"] = 2
    folder = CellFolder(out, "digits", "ebm", 0)
    fabricate.cell(out, record)
    trackers = Trackers([name], folder, CONFIG)
    for update in updates:
        trackers.scalars(update, {"energy gap": update / 4, "AUROC(data, chain)": 0.5})
    trackers.picture(2, "grids", folder.picture_path("samples"))
    if status:
        trackers.finished(record, folder.picture_path("samples"))
    trackers.close()
    return record


def kid(record) -> float:
    return next(one["value"] for one in record["metrics"] if one["name"] == "KID")


def test_tensorboard_reads_it_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = tracked("tensorboard", tmp_path / "results")
    events = EventAccumulator(str(tmp_path / "results/tracking/tensorboard/digits/ebm/seed-0"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/energy_gap")] == [(1, 0.25), (2, 0.5)]
    assert [one.value for one in events.Scalars("train/AUROC_data_chain")] == [0.5, 0.5]
    (score,) = events.Scalars("scores/KID")
    assert (score.step, score.value) == (2, pytest.approx(kid(record)))
    (image,) = events.Images("grids")
    assert (image.step, image.width, image.height) == (2, 64, 64)
    assert set(events.Tags()["images"]) == {"grids", "samples"}
    assert "| model.steps | 20 |" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


def test_mlflow_finds_it_in_a_local_store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "results"
    tracked("mlflow", out, updates=[1], status="")
    client = MlflowClient(f"sqlite:///{out / 'tracking' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("results")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    record = tracked("mlflow", out, updates=[2])  # the same cell, resumed: the same run
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.tags["shortrun.cell"]) == ("FINISHED", "digits/ebm/seed-0")
    assert run.data.params["model.steps"] == "20"
    assert run.data.metrics["scores/KID"] == pytest.approx(kid(record))
    history = client.get_metric_history(run.info.run_id, "train/energy_gap")
    assert sorted((one.step, one.value) for one in history) == [(1, 0.25), (2, 0.5)]
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {"grids", "samples"}
    tracked("mlflow", out, status="diverged")  # after a finished one: another run
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(one.info.status for one in runs) == ["FAILED", "FINISHED"]


def records_of(content: bytes, header=7, block=2**15):
    """The records of a .wandb file: LevelDB's log (its log_format.md) after a header of seven bytes."""
    place, parts = header, []
    while place + 7 <= len(content):
        if block - place % block < 7:  # too little for a record's head: the rest of the block is empty
            place += block - place % block
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts.append(content[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several parts
            yield b"".join(parts)
            parts = []


def test_wandb_keeps_an_offline_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    record = tracked("wandb", tmp_path / "results")
    (file,) = (tmp_path / "results" / "tracking").rglob("run-*.wandb")
    told, config = {}, {}
    for content in records_of(file.read_bytes()):
        found = wandb_internal_pb2.Record()
        found.ParseFromString(content)
        for one in found.history.item:
            told.setdefault(one.key or "/".join(one.nested_key), []).append(one.value_json)
        for one in found.run.config.update:
            config[one.key] = one.value_json
    assert [float(value) for value in told["train/energy_gap"]] == [0.25, 0.5]
    assert float(told["scores/KID"][0]) == pytest.approx(kid(record))
    assert config["model.steps"] == "20"
    assert {"grids", "samples"} <= {key.split("/")[0] for key in told}


class Recorder:
    """A tracker that keeps what it is told; `fails` at its first scalars."""

    def __init__(self, fails=False):
        self.told, self.fails = [], fails

    def scalars(self, update, values):
        if self.fails:
            raise ConnectionError("no\nroute")
        self.told.append((update, values))

    def picture(self, update, name, path):
        self.told.append((update, name))

    def close(self, status):
        self.told.append(status)


@pytest.fixture
def recorders(monkeypatch, tmp_path):
    """Two trackers, of which the second fails."""
    found = {"one": Recorder(), "two": Recorder(fails=True)}
    for name, recorder in found.items():
        module = type(sys)(f"stub_{name}")
        module.start = lambda folder, config, recorder=recorder: recorder
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(tracking.TRACKERS, name, (module.__name__, "json", name))
    return found


def test_a_tracker_is_told_what_the_log_is_told(recorders, tmp_path, capsys):
    """And one that fails is told of once, and left out; the training is the same."""
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=seeded("images"))
    weights = []
    for name in ("with", "without"):
        own = trainer("vae", updates=4)
        folder = CellFolder(tmp_path / name, "digits", "vae", 0)
        trackers = Trackers(["one", "two"] if name == "with" else [], folder, CONFIG)
        config = TrainingConfig(log_every=2, grids=0)
        train(own, images, seed=0, folder=folder, config=config, track=trackers.scalars, progress=False)
        trackers.close("finished")
        weights.append(own.model.state_dict())
        log = folder.log_path.read_text(encoding="utf-8").splitlines()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    *rows, status = recorders["one"].told
    assert [update for update, _ in rows] == [1, 2, 4]
    assert len(log) == 1 + 3
    assert all(name.startswith("train/") for name in rows[0][1])
    assert status == "finished"
    assert recorders["two"].told == []
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("--track")]
    assert line == "--track two failed (ConnectionError: no route): the run goes on without it"


def test_names_and_settings_are_made_fit():
    assert fit("AUROC(data, chain)") == "AUROC_data_chain"
    assert fit("()") == "unnamed"
    assert flat({"a": {"b": 1, "c": {"d": None}}, "e": True}) == {"a.b": 1, "a.c.d": "None", "e": True}


def test_what_cannot_track_is_refused_before_anything_is_run(monkeypatch):
    with pytest.raises(UserError, match=r"^--track abacus is unknown: choose from tensorboard, wandb, mlflow$"):
        check(["abacus"])
    monkeypatch.setitem(tracking.TRACKERS, "wandb", ("bench.tracking.wandb", "no_such_package", "wandb"))
    with pytest.raises(UserError, match=r"is not installed: pip install short-run-ebm-benchmark\[wandb\]$"):
        check(["wandb"])
    assert check([]) == ()
