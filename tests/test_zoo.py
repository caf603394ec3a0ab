"""Trained models by name: the weights that come with a clone are those of their records, and so are their scores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import evaluate, export, zoo
from bench.contract.images import to_uint8
from bench.contract.seeds import in_blocks, seeded
from bench.report.content.numerals import bracketed
from bench.results import shipped
from bench.scoring.setup import Setup
from bench.scoring.subjects import Checkpoint
from tests.commands import refusal

ROOT = Path(__file__).parent.parent
NAMES = sorted(shipped.shipped())
QUICK = ["--features", "examples.pixels:Projection", "--threads", "1", "--quiet", "--device", "cpu", "--no-cache"]
SMALL = ["evaluation.samples=64", "evaluation.metrics=['KID']", "evaluation.sweep_samples=0", "evaluation.paths=2"]
SMALL += ["evaluation.midpoints=8", "evaluation.inpaintings=0", "evaluation.dimensions=[]", "evaluation.ood=[]"]


def scores(source, out, *more):
    assert evaluate.main([str(source), *QUICK, "--set", *SMALL, "--out", str(out), *more]) == 0
    return json.loads((out / "scores.json").read_text(encoding="utf-8"))


def test_every_reported_model_of_digits_is_there_once():
    weights = list(shipped.REFERENCE.glob("*/cells/*/*/seed-*/model.safetensors"))
    assert zoo.names() == [f"digits/{model}" for model in ("dcgan", "ebm", "ebm-multigrid", "flow", "vae")]
    assert zoo.names() == list(shipped.shipped())
    assert len(weights) == len(NAMES)  # or two cells would share a name
    for name, cell in shipped.shipped().items():
        record = cell.read_record()
        assert record.finished
        assert f"{record.dataset}/{record.model}" == name


@pytest.mark.parametrize("name", NAMES)
def test_its_samples_are_those_of_the_record(name):
    """samples.png beside the record, up to the rounding of another processor."""
    cell = shipped.shipped()[name]
    record = cell.read_record()
    entry, (channels, height, width) = record.data["images"]["samples"], record.data["data"]["image_shape"]
    assert channels == 1
    with Image.open(cell.path / entry["file"]) as picture:
        pixels = np.asarray(picture)
    rows, columns = entry["rows"], entry["columns"]
    drawn = pixels.reshape(rows, height, columns, width).transpose(0, 2, 1, 3).reshape(-1, height, width)[:16]
    model = zoo.load(name)
    assert not model.training
    blocks = in_blocks(model.sample, 16, record.data["evaluation_seeds"][0], "sample", device=model.device)
    made = torch.cat([to_uint8(block) for block in blocks])[:, 0].numpy()
    assert drawn.std() > 30
    assert np.abs(made.astype(int) - drawn.astype(int)).mean() < 0.5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A shipped model exported, and its scores by name."""
    root = tmp_path_factory.mktemp("zoo")
    cell = shipped.shipped()["digits/vae"].path
    assert export.main([str(cell), "--out", str(root / "exported")]) == 0
    return root, scores("digits/vae", root / "by-name")


def test_a_name_is_scored_as_its_record_says(folders):
    """The error of reconstruction depends on neither features nor the number of samples: it is the record's."""
    by_name = folders[1]
    record = shipped.shipped()["digits/vae"].read_record()
    assert (by_name["source"], by_name["dataset"], by_name["model"]) == ("digits/vae", "digits", "vae")
    assert by_name["data"]["content_hash"] == record.data["data"]["content_hash"]
    errors = [one for one in by_name["metrics"] if one["name"] == "MSE"]
    assert [one["value"] for one in errors] == [pytest.approx(record.metric("MSE")["value"], rel=1e-4)]


def test_an_exported_model_is_scored_as_its_cell(folders, tmp_path):
    root, by_name = folders
    again = scores(root / "exported", tmp_path / "out")
    for own in ("dataset", "data", "evaluation", "metrics", "references", "curves", "untrained", "images"):
        assert again[own] == by_name[own]
    setup = Setup(device_choice="cpu")
    folder, weights = (Checkpoint(root / "exported" / name, setup) for name in ("", "model.safetensors"))
    assert (weights.settings, weights.dataset, weights.seed) == (folder.settings, folder.dataset, folder.seed)
    assert torch.equal(weights.model.sample(2, seeded("s")), folder.model.sample(2, seeded("s")))


def test_what_nobody_says_is_what_the_record_has():
    """Features and evaluation seeds; the same of any run's weights."""
    cell = shipped.shipped()["digits/flow"]
    own = evaluate._record_of(cell.path)
    assert evaluate._features(own) == "efficientnet-lite0@112"
    assert evaluate._record_of(cell.weights_path).data == own.data
    assert evaluate._record_of(cell.path / "samples.png") is None
    assert evaluate._record_of(cell.path.parent) is None


def test_code_of_its_author_is_scored_when_it_is_trusted(folders, tmp_path, capsys):
    root = folders[0]
    about = json.loads((root / "exported" / "config.json").read_text(encoding="utf-8"))
    for path in (root / "exported").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    foreign = about | {"factory": "baselines.vae:VAETrainer"}
    (tmp_path / "config.json").write_text(json.dumps(foreign), encoding="utf-8")
    assert evaluate.main([str(tmp_path), *QUICK]) == 2
    assert "give --trust-code to import that code" in capsys.readouterr().err
    assert evaluate.main([str(tmp_path), *QUICK, "--trust-code"]) == 2
    assert "is not that of its config.json (factory differs)" in capsys.readouterr().err
    (tmp_path / "record.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    assert evaluate.main([str(tmp_path), *QUICK]) == 2
    assert "has no record.json" in capsys.readouterr().err


def test_a_cell_is_loaded_from_its_folder():
    cell = shipped.shipped()["digits/vae"].path
    one, other = zoo.load(cell), zoo.load("digits/vae")
    assert torch.equal(one.sample(3, seeded("s")), other.sample(3, seeded("s")))


def test_a_name_that_is_not_there_is_one_line_and_asks_no_hub(monkeypatch, capsys, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", lambda *a, **k: pytest.fail("asked the hub"))
    assert "a shipped model (digits/dcgan, digits/ebm, " in refusal(zoo.load, "digits/flwo")
    assert evaluate.main(["digits/flwo"]) == 2
    assert "a shipped model (digits/dcgan, digits/ebm, " in capsys.readouterr().err
    monkeypatch.setattr(shipped, "REFERENCE", tmp_path / "none")
    assert zoo.names() == []
    where = "they come with a clone of the repository"
    assert where in refusal(zoo.load, "digits/flow")
    for program, arguments in ((evaluate, ["digits/flow"]), (zoo, [])):
        assert program.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert where in line


def test_the_list_shows_the_records_and_needs_no_torch():
    code = "import sys\nfrom bench.zoo import main\nassert main([]) == 0\nassert 'torch' not in sys.modules\n"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for name, cell in shipped.shipped().items():
        lead = next(one for one in cell.read_record().metrics if one["lead"])
        (line,) = [line for line in run.stdout.splitlines() if f"| {name} " in line]
        assert bracketed(lead["value"], lead["interval"]).replace("[", "\\[").replace("]", "\\]") in line
