"""The command line, end to end: a smoke run, what it writes, a researcher's own model, a model scored again."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

from bench import compare, evaluate
from bench.config.commandline import DATA_ROOT
from bench.results.cell_folder import LOG, read_all
from bench.storage.checkpoint import load_checkpoint, save_checkpoint
from tests.commands import OWN_MODEL, SMOKE, refused

ROOT = Path(__file__).parent.parent
TABLES = ["table.csv", "table.md", "table.tex", "cells.csv"]
PLOTS = ["samples", "nearest", "reconstructions", "interpolations", "interpolations_reconstructed", "chain"]
PLOTS += ["learning_curves", "scores", "scores_reconstruction"]
PLOTS += [f"curve_{name}" for name in ("mse_by_decodes", "kid_by_langevin_steps", "energy_by_step")]
PICTURES = ["samples", "nearest", "originals", "reconstructions", "interpolations", "interpolations-reconstructed"]
FEATURE_METRICS = [
    "FD",
    "KID",
    "MMD",
    "precision",
    "recall",
    "density",
    "coverage",
    "memorization",
    "KID held-out",
    "KID memorization gap",
]  # no FD infinity of so few
PATH_METRICS = ["length ratio", "largest step", "second difference", "feature length ratio", "midpoint realism"]
PATH_KINDS = ["", ", paper path", ", real ends", ", paper path, real ends"]
MIDPOINT_METRICS = {
    "": ["midpoint KID", "ends KID", "midpoint distance", "perceptual path length"],
    ", real ends": ["midpoint KID", "ends KID", "midpoint distance", "ends MSE"],
}
OOD = ["noise", "blends", "blurred", "constants"]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


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
        pictures = [*PICTURES, "chain", "long-chain"] if record.model == "ebm" else PICTURES
        assert sorted(record.data["images"]) == sorted(pictures)
        for name, entry in record.data["images"].items():
            with Image.open(record.folder / entry["file"]) as image:
                assert image.size == (8 * entry["columns"], 8 * entry["rows"]), name


def test_record_tells_all_that_a_reader_needs(finished):
    (record,) = [r for r in read_all(finished) if (r.model, r.seed) == ("ebm", 1)]
    data = record.data
    assert (data["training_seed"], data["evaluation_seeds"], data["profile"]) == (1, [0], "smoke")
    assert data["config"]["evaluation"]["seeds"] == [0]
    assert data["data"]["train"] == 256
    assert data["data"]["held_out"] == 16
    assert len(data["data"]["content_hash"]) == 64
    assert data["network_evaluations_per_sample"] == data["config"]["model"]["steps"] == 5
    assert data["training"]["updates"] == data["training"]["planned_updates"] == 10
    assert [m["name"] for m in data["metrics"]] == [
        *FEATURE_METRICS,
        *("MSE", "PSNR", "SSIM", "MSE, inverted", "in-painting MSE"),
        *(name + kind for kind in PATH_KINDS for name in [*PATH_METRICS, *MIDPOINT_METRICS.get(kind, [])]),
        *("energy gap", "gradient norm", "moment mismatch"),
        *(f"OOD AUROC ({name})" for name in OOD),
    ]
    scored = {m["name"]: m for m in data["metrics"]}
    assert scored["KID"]["lead"]
    assert not scored["FD"]["lead"]
    assert (scored["FD"]["n_real"], scored["FD"]["n_generated"]) == (128, 64)
    assert scored["FD"]["label"].startswith("FD(efficientnet-lite0, ")
    assert (scored["MSE"]["n"], scored["MSE"]["budget"]) == (8, 3)
    for name in (*FEATURE_METRICS, "MSE", "PSNR", "SSIM"):
        low, high = scored[name]["interval"]
        assert low <= scored[name]["value"] <= high, name
    assert data["throughput"]["evaluations_per_second"] == pytest.approx(5 * data["throughput"]["samples_per_second"])
    assert data["environment"]["packages"]["torch"]


def test_floor_and_ceiling_bound_the_scores(finished):
    first, *others = (r.data["references"] for r in read_all(finished))
    assert all(other == first for other in others)
    floor, ceiling = ({m["name"]: m for m in first[kind]["metrics"]} for kind in ("real", "noise"))
    assert list(first) == ["real", "expected", "blurred", "noised", "noise"]
    assert (first["real"]["title"], first["noise"]["title"]) == ("real, held out", "uniform noise")
    assert (first["blurred"]["title"], first["noised"]["title"]) == (
        "real, blurred (sd 0.5 px)",
        "real, with noise (sd 64 grey levels)",
    )
    for spoilt in ("blurred", "noised"):
        scored = {m["name"]: m for m in first[spoilt]["metrics"]}
        assert floor["KID"]["value"] < scored["KID"]["value"] < ceiling["KID"]["value"]
        assert scored.keys() == {name for name, m in floor.items() if m["group"] == "samples"}
    assert {m["n_generated"] for m in floor.values() if m["group"] == "samples"} == {64}  # 16 held out, 48 spare
    assert floor["FD"]["value"] < 0.5 * ceiling["FD"]["value"]
    assert floor["KID"]["value"] < 0.1 * ceiling["KID"]["value"]
    assert floor["length ratio"]["value"] == pytest.approx(1, abs=1e-6)  # blends of pixels are straight
    assert ceiling["length ratio"]["value"] == pytest.approx(4, rel=0.1)  # four steps, each as long as the ends are far
    assert "MSE" not in floor
    assert ceiling["MSE"]["method"] == "mean image"
    assert ceiling["perceptual path length"]["value"] == pytest.approx(1 / 0.03**2, rel=0.3)
    assert not any(m["lead"] for m in (*floor.values(), *ceiling.values()))


def test_curves_of_a_chain(finished):
    (record,) = [r for r in read_all(finished) if (r.model, r.seed) == ("ebm", 0)]
    curves = {curve["name"]: curve for curve in record.data["curves"]}
    assert set(curves) == {
        *("MSE by decodes", "MSE by latent dimensions", "gradient norm by step", "energy by step"),
        *("gradient norm over a long run", "energy over a long run"),
        *("displacement by layer", "cosine by layer", "noise share by layer"),
        *("KID by Langevin steps", "FD by Langevin steps"),
    }
    decodes = curves["MSE by decodes"]
    assert (decodes["x"], decodes["mark"]) == ([1, 2, 3], 3)
    assert decodes["y"][0] > decodes["y"][1] > decodes["y"][2]
    assert decodes["y"][2] == pytest.approx(record.metric("MSE")["value"], rel=1e-4)
    assert (curves["KID by Langevin steps"]["x"], curves["KID by Langevin steps"]["mark"]) == ([2, 5, 50], 5)
    norms = curves["gradient norm by step"]
    assert (len(norms["x"]), norms["mark"]) == (50, 5)
    assert record.metric("gradient norm")["value"] == pytest.approx(sum(norms["y"][:5]) / 5)
    assert (curves["energy by step"]["x"][0], curves["energy by step"]["x"][-1]) == (0, 50)
    assert curves["MSE by latent dimensions"]["x"] == [4, 64]
    first = record.data["untrained"]
    assert [m["name"] for m in first["metrics"]] == ["MSE", "PSNR", "SSIM", "MSE, inverted", "in-painting MSE"]
    assert [(c["name"], c["x"]) for c in first["curves"]] == [("MSE by latent dimensions", [4, 64])]
    assert record.data["latent_dimensions"] == 64
    (encoder,) = [r for r in read_all(finished) if (r.model, r.seed) == ("vae", 0)]
    assert [(c["name"], c["x"]) for c in encoder.data["curves"]] == [
        ("MSE by decodes", [1]),
        ("MSE by latent dimensions", [4, 16]),
    ]


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
        (["--set", "ebm.steps=6"], ["ebm.steps", "5 there and 6 here"]),
        (["--set", "evaluation.budget=4"], ["evaluation.budget", "3 there and 4 here"]),
        (["--set", "data.split_seed=1", "--models", "vae", "--seeds", "7"], ["data.split_seed"]),
        (["--evaluation-seeds", "0", "1"], ["evaluation.seeds", "[0] there and [0, 1] here"]),
    ],
)
def test_another_configuration_s_records_are_kept(finished, capsys, arguments, words):
    before = snapshot(finished)
    words = [word.replace("ebm.steps", "model.steps") for word in words]
    refused(["--out", str(finished), *arguments], capsys, "choose another --out", *words)
    assert snapshot(finished) == before


def test_divergence_is_an_outcome(tmp_path, capsys):
    arguments = ["--models", "ebm", "vae", "--set", "ebm.step_size=1e30", "--out", str(tmp_path)]
    assert compare.main([*SMOKE, *arguments]) == 1
    ebm, vae = read_all(tmp_path)
    assert (ebm.data["status"], vae.data["status"]) == ("diverged", "finished")
    assert "at update 1" in ebm.data["message"]
    assert "diverged at update 1" in (tmp_path / "table.md").read_text()
    assert (ebm.folder / LOG).exists()


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


def test_real_images(tmp_path):
    """Where the real sets lie under BENCH_DATA_ROOT: Fashion-MNIST, and a folder of CIFAR-10 images."""
    root = Path(os.environ.get(DATA_ROOT, "data"))
    folder = root / "cifar10-jpeg" / "train"
    if not (folder.is_dir() and (root / "FashionMNIST" / "raw").is_dir()):
        pytest.skip(f"no real images under {root}")
    arguments = ["--datasets", "fashion-mnist", f"folder:{folder}", "--data-root", str(root), "--out", str(tmp_path)]
    assert compare.main([*SMOKE, *arguments]) == 0
    shapes = {record.dataset: record.data["data"]["image_shape"] for record in read_all(tmp_path)}
    assert shapes == {"fashion-mnist": [1, 28, 28], "cifar10-jpeg-train": [3, 32, 32]}


def test_a_finished_model_scored_again_scores_the_same(finished, tmp_path, capsys):
    """`bench.evaluate` of a cell's model, with nothing said but the extractor, gives the record's own numbers."""
    for name in ("ebm", "dcgan"):
        (record,) = [r for r in read_all(finished) if (r.model, r.seed) == (name, 1)]
        arguments = [str(record.folder / "model.safetensors"), "--features", "efficientnet-lite0@64"]
        out = tmp_path / name
        assert evaluate.main([*arguments, "--threads", "1", "--quiet", "--device", "cpu", "--out", str(out)]) == 0
        scores = json.loads((out / "scores.json").read_text())
        assert scores["metrics"] == record.metrics
        assert scores["references"] == record.data["references"]
        assert scores["curves"] == record.data["curves"]
        assert scores["untrained"] == record.data["untrained"]
        assert scores["latent_dimensions"] == record.data["latent_dimensions"]
        for picture, entry in record.data["images"].items():
            assert (out / f"{picture}.png").read_bytes() == (record.folder / entry["file"]).read_bytes()
        assert "| KID(efficientnet-lite0, 64 px) ↓ |" in capsys.readouterr().out


def test_a_model_that_makes_no_numbers_has_no_scores(finished, tmp_path, capsys):
    (record,) = [r for r in read_all(finished) if (r.model, r.seed) == ("vae", 0)]
    state, about = load_checkpoint(record.folder / "model.safetensors")
    broken = {name: x * math.inf if x.is_floating_point() else x for name, x in state.items()}
    save_checkpoint(tmp_path / "broken", broken, about)
    arguments = [str(tmp_path / "broken"), "--features", "efficientnet-lite0@64", "--quiet"]
    assert evaluate.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "diverged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_scored_against_images_of_another_size(finished, tmp_path, capsys):
    for i in range(80):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (record,) = [r for r in read_all(finished) if (r.model, r.seed) == ("vae", 0)]
    arguments = [str(record.folder / "model.safetensors"), "--dataset", f"folder:{tmp_path}", "--quiet"]
    assert evaluate.main([*arguments, "--features", "efficientnet-lite0@64"]) == 2
    assert "1 x 8 x 8" in (line := capsys.readouterr().err.strip().splitlines()[-1])
    assert "3 x 16 x 16" in line
