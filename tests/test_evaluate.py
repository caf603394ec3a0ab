"""`python -m bench.evaluate`: a folder of images made elsewhere, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bench import evaluate
from bench.data.digits import SOURCE
from bench.storage.checkpoint import save_checkpoint

QUICK = ["--dataset", "digits", "--features", "efficientnet-lite0@64", "--threads", "1", "--quiet", "--device", "cpu"]


def folder_of(path, n, kind):
    """`n` images of side 8: noise, or digits of the set itself."""
    path.mkdir()
    real, _ = SOURCE.open(path, 8, False).read(range(n))
    noise = np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)
    for i in range(n):
        Image.fromarray(real[i, 0].numpy() if kind == "digits" else noise[i]).save(path / f"{i:03}.png")
    return path


def refused(arguments, capsys, *words):
    assert evaluate.main([str(one) for one in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("bench.evaluate: ")
    for word in words:
        assert word in line


def test_folders_are_scored(tmp_path, capsys):
    """Digits score as the floor does, and the training images nearest to them are themselves; noise scores badly."""
    scored = {}
    for kind in ("digits", "noise"):
        images, out = folder_of(tmp_path / kind, 70, kind), tmp_path / f"{kind}-out"
        assert evaluate.main([str(images), *QUICK, "--out", str(out), "--evaluation-seeds", "0", "1"]) == 0
        assert "| KID(efficientnet-lite0, 64 px) ↓ |" in capsys.readouterr().out
        scores = json.loads((out / "scores.json").read_text())
        scored[kind] = {one["name"]: one for one in scores["metrics"]}
        assert {one["group"] for one in scores["metrics"]} == {"samples"}
        assert all(len(one["per_seed"]) == 2 and one["n_generated"] == 70 for one in scores["metrics"])
        assert list(scores["references"]) == ["real", "expected", "blurred", "noised", "noise"]
        for name, entry in scores["images"].items():
            with Image.open(out / f"{name}.png") as picture:
                assert picture.size == (8 * entry["columns"], 8 * entry["rows"])
        assert set(scores["images"]) == {"samples", "nearest"}
        if kind == "digits":
            with Image.open(out / "nearest.png") as picture:
                pairs = np.asarray(picture)
            assert np.array_equal(pairs[:8, :8], pairs[:8, 8:16])
    digits, noise = scored["digits"], scored["noise"]
    assert abs(digits["KID"]["value"]) < 0.05 * noise["KID"]["value"]
    assert digits["memorization"]["value"] > 0.8  # five in six of them are training images
    assert noise["precision"]["value"] == 0 < digits["precision"]["value"]
    before = (tmp_path / "noise-out" / "scores.json").read_bytes()
    arguments = [tmp_path / "digits", *QUICK, "--out", tmp_path / "noise-out"]
    refused(arguments, capsys, "holds files already", "--force")
    assert (tmp_path / "noise-out" / "scores.json").read_bytes() == before
    assert evaluate.main([*map(str, arguments), "--force"]) == 0
    assert (tmp_path / "noise-out" / "scores.json").read_bytes() != before


def test_what_cannot_be_scored(tmp_path, capsys):
    images = folder_of(tmp_path / "few", 20, "noise")
    (tmp_path / "file").write_text("no model")
    save_checkpoint(tmp_path / "other", {}, {"run": "x"})
    wide = tmp_path / "wide"
    wide.mkdir()
    for i in range(64):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(wide / f"{i}.png")
    broken = folder_of(tmp_path / "broken", 64, "noise")
    (broken / "000.png").write_bytes(b"no image")
    refused([images], capsys, "--dataset")
    refused([images, *QUICK], capsys, "20", "64")
    refused([images, *QUICK, "--set", "evaluation.samples=64"], capsys, "holds 20 images", "64")
    refused([wide, *QUICK], capsys, "3 x 16 x 16", "1 x 8 x 8", "--image-size")
    refused([broken, *QUICK], capsys, "000.png")
    refused([tmp_path / "none", *QUICK], capsys, "there is no", "none")
    refused([tmp_path / "file", *QUICK], capsys, "no model of a finished cell")
    refused([tmp_path / "other", *QUICK], capsys, "no model of a finished cell")
    refused([wide, *QUICK, "--out", tmp_path / "file"], capsys, "is a file")
    refused([wide, *QUICK, "--evaluation-seeds", "1", "1"], capsys, "once")
    refused([wide, *QUICK, "--set", "training.grids=1"], capsys, "unknown section 'training'")
    refused([wide, *QUICK, "--features", "vgg"], capsys, "'vgg'")
    refused([wide, *QUICK, "--threads", "0"], capsys, "--threads 0")


def test_grey_images_saved_as_rgb_score_as_the_grey_ones(tmp_path, capsys):
    """torchvision's save_image writes three equal channels; a single coloured pixel still tells another data set."""
    scored = []
    for mode in ("L", "RGB"):
        images = folder_of(tmp_path / mode, 70, "noise")
        for path in images.iterdir():
            with Image.open(path) as image:
                image.convert(mode).save(path)
        assert evaluate.main([str(images), *QUICK, "--out", str(tmp_path / f"{mode}-out")]) == 0
        scored.append(json.loads((tmp_path / f"{mode}-out" / "scores.json").read_text(encoding="utf-8")))
    assert scored[0]["metrics"] == scored[1]["metrics"]
    assert scored[0]["notes"] == []
    assert "70 of 70 images had three equal channels, of which one was taken" in scored[1]["notes"]
    with Image.open(tmp_path / "RGB" / "000.png") as image:
        image.putpixel((0, 0), (1, 2, 3))
        image.save(tmp_path / "RGB" / "000.png")
    capsys.readouterr()
    refused([tmp_path / "RGB", *QUICK], capsys, "3 x 8 x 8", "1 x 8 x 8")


@pytest.mark.parametrize("option", [["--image-size", "16"], ["--set", "data.image_size=16"]])
def test_the_side_holds_for_the_images_scored_too(tmp_path, option):
    real, mixed = tmp_path / "real", tmp_path / "mixed"
    for folder, sides in ((real, [16]), (mixed, [16, 20, 33])):
        folder.mkdir()
        for i in range(80):
            side = sides[i % len(sides)]
            noise = np.random.default_rng(i).integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{i}.png")
    arguments = [str(mixed), *QUICK, "--dataset", f"folder:{real}", *option, "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert scores["data"]["image_shape"] == [1, 16, 16]
    assert "53 of 80 images resized to 16x16 (Lanczos, antialiased)" in scores["notes"]


@pytest.mark.parametrize("arguments", [["--help"], ["nowhere"]])
def test_the_first_answers_need_no_torch(arguments):
    code = (
        "import sys\n"
        "from bench.evaluate import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
