"""A cell's model as a folder for the hub, and back: the same samples bit for bit, and a card that the hub reads."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict

import pytest
import safetensors.torch
import torch

from bench import export, zoo
from bench.contract.seeds import seeded
from bench.report.content.numerals import bracketed
from bench.results.cell_folder import CellFolder
from bench.storage.checkpoint import save_checkpoint
from tests import fabricate
from tests.builders import trainer
from tests.commands import refusal

MODELS = ("ebm-residual", "ebm-multigrid", "vae", "dcgan", "flow", "published")


def finished(root, name, shape=(1, 8, 8)):
    """A finished cell with the weights of a model after its first update; the model."""
    made = trainer(name, shape)
    images = torch.rand(8, *shape, generator=seeded("x")) * 2 - 1
    made.step(images, seeded("step"))
    data = fabricate.record("digits", name, 3, shape=shape)
    settings = {"factory": name, **asdict(made.config)}
    data["config"]["model"] = settings
    folder = fabricate.cell(root, data)
    about = {key: data[key] for key in ("dataset", "model", "training_seed", "data", "config")}
    save_checkpoint(folder / "model.safetensors", made.model.state_dict(), about)
    return folder, made.model


def run(*arguments):
    return export.main([str(one) for one in arguments])


@pytest.mark.parametrize("name", MODELS)
def test_the_round_trip_is_exact(tmp_path, name):
    cell, model = finished(tmp_path / "results", name)
    assert run(cell, "--out", tmp_path / "out") == 0
    again = zoo.load(tmp_path / "out")
    assert not again.training
    assert torch.equal(again.sample(5, seeded("samples")), model.sample(5, seeded("samples")))
    assert set(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")) == set(model.state_dict())


def test_a_results_folder_gives_a_folder_for_each_finished_cell(tmp_path, capsys):
    finished(tmp_path / "results", "ebm")
    finished(tmp_path / "results", "vae")
    fabricate.cell(tmp_path / "results", fabricate.record("digits", "dcgan", 0, diverged_at=7))
    assert run(tmp_path / "results", "--out", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ebm-digits-seed-3", "vae-digits-seed-3"]
    for path in (tmp_path / "out").iterdir():
        assert {one.name for one in path.iterdir()} == {
            "README.md",
            "config.json",
            "model.safetensors",
            "record.json",
            "samples.png",
        }
    before = (tmp_path / "out/ebm-digits-seed-3/README.md").read_bytes()
    assert run(tmp_path / "results", "--out", tmp_path / "out") == 2
    assert "holds files already" in capsys.readouterr().err
    assert run(tmp_path / "results", "--out", tmp_path / "out", "--force") == 0
    assert (tmp_path / "out/ebm-digits-seed-3/README.md").read_bytes() == before


def test_the_hub_reads_the_card(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    cell, _ = finished(tmp_path / "results", "ebm")
    assert run(cell, "--out", tmp_path / "out", "--licence", "cc-by-4.0") == 0
    card = hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.pipeline_tag == "unconditional-image-generation"
    assert card.data.model_name == "ebm-digits-seed-3"
    record = CellFolder.at(cell).read_record()
    told = {one.metric_name: one.metric_value for one in card.data.eval_results}
    for name in ("KID", "MSE"):
        metric = record.metric(name)
        assert told[metric["label"]] == metric["value"]
    text = card.text
    assert bracketed(record.metric("KID")["value"], record.metric("KID")["interval"]).replace("[", "\\[")[:-1] in text
    assert "## Limits" in text
    assert "## Licence" in text
    assert "| steps" in text
    assert "![Samples, not selected](samples.png)" in text


def test_a_label_cannot_forge_the_card(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    cell, _ = finished(tmp_path / "results", "ebm")
    record = json.loads((cell / "record.json").read_text(encoding="utf-8"))
    record |= {"model": "x\n---\nlicense: other: |\n`# y`", "command": "a\n```\n# z"}
    fabricated = fabricate.cell(tmp_path / "forged", record)
    shutil.copy(cell / "model.safetensors", fabricated)
    assert run(fabricated, "--out", tmp_path / "out") == 0
    card = hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "mit"
    assert record["model"] in card.data.tags
    headings = [line for line in card.text.splitlines() if line.startswith("# ")]
    assert len(headings) == 1


def test_what_cannot_be_loaded_is_one_line(tmp_path, monkeypatch):
    cell, _ = finished(tmp_path / "results", "vae")
    assert run(cell, "--out", tmp_path / "out") == 0
    config = tmp_path / "out" / "config.json"
    about = json.loads(config.read_text(encoding="utf-8"))
    weights = tmp_path / "out" / "model.safetensors"
    whole = weights.read_bytes()

    def told(**changes):
        config.write_text(json.dumps(about | changes), encoding="utf-8")
        return refusal(zoo.load, tmp_path / "out")

    assert "give trust_code=True" in told(factory="os.path:join")
    assert "this version's bench.export" in told(format=99)
    assert "image_shape is missing or wrong" in told(image_shape=[1, 8])
    assert "unknown setting vae.colour" in told(settings={"colour": 1})
    assert "does not fit its model" in told(settings=about["settings"] | {"latent": about["settings"]["latent"] + 1})
    weights.write_bytes(whole[:-1] + b"\0")
    assert "is damaged" in told()
    weights.write_bytes(b"no tensors")
    assert "is no file of weights" in told(weights_sha256=hashlib.sha256(b"no tensors").hexdigest())
    config.write_text("{", encoding="utf-8")
    assert "is damaged" in refusal(zoo.load, tmp_path / "out")
    assert "there is no folder" in refusal(zoo.load, tmp_path / "none")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "short-run-ebm-benchmark[hub]" in refusal(zoo.load, "owner/name")


def test_code_of_its_author_is_imported_when_it_is_trusted(tmp_path):
    cell, model = finished(tmp_path / "results", "vae")
    assert run(cell, "--out", tmp_path / "out") == 0
    config = tmp_path / "out" / "config.json"
    about = json.loads(config.read_text(encoding="utf-8")) | {"factory": "baselines.vae:VAETrainer"}
    config.write_text(json.dumps(about), encoding="utf-8")
    again = zoo.load(tmp_path / "out", trust_code=True)
    assert torch.equal(again.sample(2, seeded("s")), model.sample(2, seeded("s")))


def test_the_hub_is_asked_for_two_files(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    cell, model = finished(tmp_path / "results", "vae")
    assert run(cell, "--out", tmp_path / "out") == 0
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(tmp_path / "out")

    monkeypatch.setattr(hub, "snapshot_download", download)
    again = zoo.load("owner/name", revision="v1")
    assert asked == [("owner/name", {"revision": "v1", "allow_patterns": ["config.json", "model.safetensors"]})]
    assert torch.equal(again.sample(2, seeded("s")), model.sample(2, seeded("s")))


@pytest.mark.parametrize("what", ["empty", "diverged", "bare", "file"])
def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, what):
    root = tmp_path / "results"
    root.mkdir()
    source, out = root, tmp_path / "out"
    if what == "diverged":
        source = fabricate.cell(root, fabricate.record("digits", "ebm", 0, diverged_at=7), pictures=False)
    if what == "bare":
        fabricate.cell(root, fabricate.record("digits", "ebm", 0), pictures=False)
    if what == "file":
        source, out = finished(root, "vae")[0], tmp_path / "here"
        out.write_text("")
    assert run(source, "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    said = {
        "empty": "holds no finished cell",
        "diverged": "model.safetensors",
        "bare": "model.safetensors",
        "file": "is a file",
    }
    assert said[what] in line
