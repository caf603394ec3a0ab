"""The command line, end to end: a smoke run, what it writes, what bad input gets, a researcher's own model."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

from bench import compare
from bench.records import read_all
from bench.registry import MODELS
from bench.training import LOG

ROOT = Path(__file__).parent.parent
SMOKE = ["--profile", "smoke", "--quiet", "--threads", "1"]
TABLES = ["table.csv", "table.md", "table.tex", "cells.csv"]
PLOTS = ["samples", "reconstructions", "interpolations", "chain", "learning_curves", "scores", "score_against_seconds"]
PICTURES = ["samples", "originals", "reconstructions", "interpolations"]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def refused(arguments, capsys, *words) -> None:
    """Exit status 2 and one line of error, the last on stderr, that names each of `words`."""
    assert compare.main([*SMOKE, *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.startswith("bench.compare: ") for line in lines].count(True) == 1, lines
    assert lines[-1].startswith("bench.compare: ")
    for word in words:
        assert word in lines[-1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished smoke run of all three models and two seeds."""
    out = tmp_path_factory.mktemp("results") / "smoke"
    assert compare.main([*SMOKE, "--out", str(out), "--seeds", "0", "1"]) == 0
    return out


def test_every_file_is_there(finished):
    for name in TABLES:
        assert (finished / name).stat().st_size > 100, name
    for name in PLOTS:
        with Image.open(finished / "plots" / "digits" / f"{name}.png") as image:
            image.load()
            assert min(image.size) >= 200, name
    records = read_all(finished)
    assert [(r.model, r.seed) for r in records] == [(m, s) for m in ("dcgan", "ebm", "vae") for s in (0, 1)]
    for record in records:
        assert record.finished
        assert (record.folder / LOG).read_text().startswith("update,seconds,")
        assert (record.folder / "model.safetensors").stat().st_size > 1000
        assert list((record.folder / "grids").glob("*.png"))
        assert not (record.folder / "checkpoint.safetensors").exists()
        pictures = [*PICTURES, "chain"] if record.model == "ebm" else PICTURES
        assert sorted(record.data["images"]) == sorted(pictures)
        for name, entry in record.data["images"].items():
            with Image.open(record.folder / entry["file"]) as image:
                assert image.size == (8 * entry["columns"], 8 * entry["rows"]), name


def test_record_tells_all_that_a_reader_needs(finished):
    (record,) = [r for r in read_all(finished) if (r.model, r.seed) == ("ebm", 1)]
    data = record.data
    assert (data["training_seed"], data["evaluation_seed"], data["profile"]) == (1, 0, "smoke")
    assert data["data"]["train"] == 256
    assert data["data"]["held_out"] == 16
    assert len(data["data"]["content_hash"]) == 64
    assert data["network_evaluations_per_sample"] == data["config"]["model"]["steps"] == 5
    assert data["training"]["updates"] == data["training"]["planned_updates"] == 10
    assert {m["name"] for m in data["metrics"]} == {"FD", "KID", "IS", "MSE", "length ratio", "largest step"}
    scored = {m["name"]: m for m in data["metrics"]}
    assert scored["KID"]["lead"]
    assert not scored["FD"]["lead"]
    assert (scored["FD"]["n_real"], scored["FD"]["n_generated"]) == (128, 64)
    assert scored["FD"]["label"] == "FD(efficientnet-lite0)"
    assert (scored["MSE"]["n"], scored["MSE"]["budget"]) == (8, 3)
    assert data["throughput"]["evaluations_per_second"] == pytest.approx(5 * data["throughput"]["samples_per_second"])
    assert data["environment"]["packages"]["torch"]


def test_finished_cells_are_not_run_again(finished, capsys):
    before = snapshot(finished / "cells")
    assert compare.main([*SMOKE, "--out", str(finished), "--seeds", "0", "1"]) == 0
    assert capsys.readouterr().err.count("already there (finished)") == 6
    assert snapshot(finished / "cells") == before


def test_a_run_is_a_function_of_its_seeds(finished, tmp_path):
    """The same cell run alone, in another process and folder, gives the same samples and scores."""
    command = [sys.executable, "-m", "bench.compare", *SMOKE, "--models", "ebm", "--seeds", "1", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (here,) = read_all(tmp_path)
    (there,) = [r for r in read_all(finished) if (r.model, r.seed) == ("ebm", 1)]
    assert here.metrics == there.metrics
    assert here.data["training"]["last"] == there.data["training"]["last"]
    for entry in here.data["images"].values():
        assert (here.folder / entry["file"]).read_bytes() == (there.folder / entry["file"]).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--datasets", "cifar"], ["'cifar'", "cifar10", "folder:PATH"]),
        (["--models", "gan"], ["'gan'", "ebm, ebm-residual, vae, dcgan", "package.module:factory"]),
        (["--models", "no.such.module:f"], ["no.such.module:f", "cannot be imported"]),
        (["--models", "bench.model:Nothing"], ["'Nothing'"]),
        (["--models", "bench.model:require"], ["not a factory"]),
        (["--models", "ebm", "ebm"], ["ebm ebm", "once"]),
        (["--profile", "slow"], ["'slow'", "quick"]),
        (["--set", "ebm.stepz=50"], ["ebm.stepz", "steps"]),
        (["--set", "ebm.steps=many"], ["ebm.steps='many'", "int"]),
        (["--set", "ebm.steps=0"], ["ebm.steps=0", "at least 1"]),
        (["--set", "steps=50"], ["'steps=50'", "section.name=value"]),
        (["--set", "evaluation.samples=3"], ["evaluation.samples=3", "at least 64"]),
        (["--device", "tpu"], ["'tpu'", "auto, cpu, cuda"]),
        (["--features", "vgg"], ["'vgg'", "efficientnet-lite0"]),
        (["--seeds"], ["--seeds is empty"]),
        (["--seeds", "1", "1"], ["1 1", "once"]),
        (["--seeds", "-1"], ["-1"]),
        (["--threads", "0"], ["--threads 0"]),
        (["--image-size", "16"], ["digits", "16"]),
        (["--datasets", "cifar10", "--data-root", "nowhere", "--set", "data.image_size=64"], ["cifar10", "64"]),
        (["--datasets", "celeba", "--data-root", "nowhere"], ["img_align_celeba"]),
        (["--datasets", "folder:no/such/place"], ["no/such/place"]),
        (["--inception-weights", "no.pth", "--features", "inception"], ["no.pth"]),
    ],
)
def test_bad_input_gets_one_line(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused([*arguments, "--out", str(tmp_path / "out")], capsys, *words)
    assert not (tmp_path / "out").exists()


def test_cuda_without_a_gpu(tmp_path, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    refused(["--device", "cuda", "--out", str(tmp_path)], capsys, "'cuda' is not available", "cpu")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "ebm.steps=6"], ["ebm.steps", "5 there and 6 here"]),
        (["--set", "evaluation.budget=4"], ["evaluation.budget", "3 there and 4 here"]),
        (["--set", "data.split_seed=1", "--models", "vae", "--seeds", "7"], ["data.split_seed"]),
        (["--evaluation-seed", "1"], ["evaluation.seed"]),
    ],
)
def test_another_configuration_s_records_are_kept(finished, capsys, arguments, words):
    before = snapshot(finished)
    words = [word.replace("ebm.steps", "model.steps") for word in words]
    refused(["--out", str(finished), *arguments], capsys, "choose another --out", *words)
    assert snapshot(finished) == before


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    refused(["--out", str(tmp_path / "out")], capsys, "is a file")
    assert (tmp_path / "out").read_text() == "mine"


def test_unsupported_image_size_names_the_good_ones(tmp_path, capsys):
    for i in range(12):
        Image.new("RGB", (48, 48), (i, 0, 0)).save(tmp_path / f"{i}.png")
    refused(
        ["--datasets", f"folder:{tmp_path}", "--out", str(tmp_path / "out")],
        capsys,
        "side 48",
        "8, 16, 28, 32, 64, 128",
    )


def test_divergence_is_an_outcome(tmp_path, capsys):
    arguments = ["--models", "ebm", "vae", "--set", "ebm.step_size=1e30", "--out", str(tmp_path)]
    assert compare.main([*SMOKE, *arguments]) == 1
    ebm, vae = read_all(tmp_path)
    assert (ebm.data["status"], vae.data["status"]) == ("diverged", "finished")
    assert "at update 1" in ebm.data["message"]
    assert "diverged at update 1" in (tmp_path / "table.md").read_text()
    assert (ebm.folder / LOG).exists()


OWN_MODEL = '''
from dataclasses import dataclass
import torch
from bench.model import GenerativeModel, ModelConfig
from bench.priors import draw_uniform, mix_uniform

@dataclass(frozen=True)
class Config(ModelConfig):
    scale: float = 1.0

class Noise(GenerativeModel):
    """Uniform noise, scaled by one weight."""
    def __init__(self, image_shape, scale):
        super().__init__()
        self.image_shape = image_shape
        self.scale = torch.nn.Parameter(torch.tensor(scale))
    def sample_latents(self, n, generator):
        return draw_uniform(n, *self.image_shape, generator=generator)
    @torch.no_grad()
    def decode(self, latents):
        return (self.scale * latents).clamp(-1, 1)
    def mix_latents(self, a, b, t):
        return mix_uniform(a, b, t)
    def reconstruct(self, images, budget, generator):
        return self.decode(images)

class NoiseTrainer:
    Config = Config
    def __init__(self, config, image_shape, *, generator, device):
        self.config = config
        self.model = Noise(image_shape, config.scale).to(device)
        self.networks = (self.model,)
    def step(self, images, generator):
        return {"loss": float(images.square().mean())}
    def state_dict(self):
        return {"model": self.model.state_dict()}
    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
'''


def test_a_researcher_s_own_model(tmp_path):
    (tmp_path / "mine.py").write_text(textwrap.dedent(OWN_MODEL))
    command = [
        sys.executable,
        "-m",
        "bench.compare",
        *SMOKE,
        "--models",
        "mine:NoiseTrainer",
        "--out",
        str(tmp_path / "out"),
    ]
    command += ["--set", "NoiseTrainer.scale=0.5", "NoiseTrainer.updates=3"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (record,) = read_all(tmp_path / "out")
    assert record.model == "NoiseTrainer"
    assert record.data["config"]["model"] == {
        "factory": "mine:NoiseTrainer",
        "updates": 3,
        "batch_size": 64,
        "scale": 0.5,
    }
    assert record.metric("MSE")["value"] > 0


def test_model_that_breaks_the_contract_is_told_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "broken.py").write_text(textwrap.dedent(OWN_MODEL).replace("def step", "def leap"))
    monkeypatch.syspath_prepend(tmp_path)
    refused(["--models", "broken:NoiseTrainer", "--out", str(tmp_path / "out")], capsys, "lacks step", "docs/models.md")
    (tmp_path / "wide.py").write_text(textwrap.dedent(OWN_MODEL).replace(".clamp(-1, 1)", " + 5"))
    arguments = ["--models", "wide:NoiseTrainer", "--out", str(tmp_path / "out2"), "--set", "NoiseTrainer.updates=2"]
    assert compare.main([*SMOKE, *arguments]) == 2
    assert "sample must return images in [-1, 1]" in capsys.readouterr().err


def test_list_names_everything(tmp_path, capsys):
    assert compare.main(["--list", "--data-root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for word in ("digits", "celeba", "lsun-bedroom", "folder:PATH", "there", "missing", *MODELS, "smoke", "paper"):
        assert word in text


def test_real_images(tmp_path):
    """Where the real sets lie under BENCH_DATA_ROOT: Fashion-MNIST, and a folder of CIFAR-10 images."""
    root = Path(os.environ.get(compare.DATA_ROOT, "data"))
    folder = root / "cifar10-jpeg" / "train"
    if not (folder.is_dir() and (root / "FashionMNIST" / "raw").is_dir()):
        pytest.skip(f"no real images under {root}")
    arguments = ["--datasets", "fashion-mnist", f"folder:{folder}", "--data-root", str(root), "--out", str(tmp_path)]
    assert compare.main([*SMOKE, *arguments]) == 0
    shapes = {record.dataset: record.data["data"]["image_shape"] for record in read_all(tmp_path)}
    assert shapes == {"fashion-mnist": [1, 28, 28], "cifar10-jpeg-train": [3, 32, 32]}
