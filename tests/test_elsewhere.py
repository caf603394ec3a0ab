"""Images made elsewhere: scored from folders, arrays and generators, and put beside a results folder's models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench import evaluate, report
from bench.contract.seeds import seeded
from bench.report.content.ranking import rank
from bench.report.content.sections import split
from bench.report.tables import scores as tables
from bench.results.cell_folder import CellFolder, read_all
from bench.results.elsewhere import read_elsewhere
from bench.results.record import write_record
from tests import fabricate

ROOT = Path(__file__).parent.parent
SOME = "evaluation.metrics=['KID', 'precision']"
QUICK = ["--features", "examples.pixels:Projection", "--threads", "1", "--quiet", "--device", "cpu"]
DIGITS = ["--dataset", "digits", "--set", SOME]


def noise(n=70, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)


def run(*arguments):
    return evaluate.main([*map(str, arguments), *QUICK])


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with one finished cell, whose settings are those of an array of noise that was scored."""
    root = tmp_path_factory.mktemp("made")
    np.savez(root / "noise.npz", noise()[..., None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(root / "cache"))
        patch.chdir(ROOT)
        assert run(root / "noise.npz", *DIGITS, "--out", root / "scored", "--evaluation-seeds", 0, 1) == 0
    data = json.loads((root / "scored" / "record.json").read_text(encoding="utf-8"))
    fabricated = fabricate.record("digits", "ebm", 0)
    own = ("parameters", "parameters_trained", "network_evaluations_per_sample", "training")
    data |= {name: fabricated[name] for name in own} | {"model": "ebm", "profile": "quick", "origin": None}
    write_record(CellFolder(root / "results", "digits", "ebm", 0).record_path, data)
    return root


def test_an_array_scores_as_the_same_images_in_a_folder(results, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(noise()):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    out = tmp_path / "out"
    assert run(folder, *DIGITS, "--out", out, "--evaluation-seeds", 0, 1) == 0
    mine, theirs = (json.loads((at / "scores.json").read_text(encoding="utf-8")) for at in (out, results / "scored"))
    assert mine["metrics"] == theirs["metrics"]
    assert theirs["metrics"][0]["n_generated"] == 70


def test_what_is_scored_like_a_folder_gets_a_row_in_its_table(results):
    """Settings, seeds and counts are the cell's: one protocol. Other counts are another protocol."""
    root = results / "results"
    options = ["--like", root, "--label", "their GAN", "--out", root / "elsewhere" / "gan"]
    assert run(results / "noise.npz", *options) == 0
    (record,) = read_elsewhere(root)
    assert (record.dataset, record.model, record.made_elsewhere) == ("digits", "their GAN", True)
    assert record.data["evaluation_seeds"] == [0, 1]
    assert record.data["parameters"] is None
    assert record.data["command"].startswith("python -m bench.evaluate ")
    (section,) = split([*read_all(root), record])
    assert [row.label for row in section.rows] == ["ebm", "their GAN, made elsewhere"]
    assert section.rows[1].status == "1 made elsewhere"
    fewer = ["--set", "evaluation.samples=64", "--label", "fewer", "--out", root / "elsewhere" / "fewer"]
    assert run(results / "noise.npz", "--like", root, *fewer) == 0
    sections = split(read_all(root) + read_elsewhere(root))
    assert [[row.label for row in one.rows] for one in sections] == [
        ["ebm", "their GAN, made elsewhere"],
        ["fewer, made elsewhere"],
    ]


def test_like_says_what_it_lacks(results, tmp_path, capsys):
    images, root = results / "noise.npz", results / "results"
    assert "has no finished cell of cifar10: it has digits" in refused(
        capsys, images, "--like", root, "--dataset", "cifar10"
    )
    assert "has no finished cell: say which --dataset" in refused(capsys, images, "--like", tmp_path)
    assert evaluate.main([str(images), "--like", str(root), "--features", "efficientnet-lite0@64", "--quiet"]) == 2
    assert "is scored with random-projection, 16 px, not efficientnet-lite0, 64 px" in capsys.readouterr().err
    like = evaluate.Like.of(ROOT / "results/reference/paper/main", None)
    assert (like.dataset, like.extractor, like.label) == (
        "digits",
        "efficientnet-lite0@112",
        "efficientnet-lite0, 112 px",
    )


class Net(nn.Module):
    """As a GAN's generator is written: latents (n, 5) to images, tanh at the end."""

    z_dim = 5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 64)

    def forward(self, z):
        assert not self.training
        return torch.tanh(self.layer(z)).view(-1, 1, 8, 8)


def built():
    return Net()


def sampler(n, generator):
    return 2 * torch.rand(n, 1, 8, 8, generator=generator) - 1


def unseeded(n, generator):
    return 2 * torch.rand(n, 1, 8, 8) - 1  # from torch's global state


def unit_range(n, generator):
    return torch.rand(n, 1, 8, 8, generator=generator)


def flat(n, generator):
    return torch.zeros(n, 64)


def infinite(n, generator):
    return torch.full((n, 1, 8, 8), torch.inf)


def faulty(n, generator):
    raise KeyError("weights\nmissing")


class Shapeless(nn.Module):
    def forward(self, z):
        return z


NUMBER = 3
SAMPLES = ["--set", SOME, "evaluation.samples=70"]


@pytest.mark.parametrize("name", ["Net", "built", "sampler", "unseeded"])
def test_a_generator_is_a_function_of_the_seed(name, tmp_path):
    scored = []
    for seeds in ([0, 1], [1, 0], [0, 1]):
        out = tmp_path / f"out{len(scored)}"
        arguments = ["--dataset", "digits", *SAMPLES, "--evaluation-seeds", *seeds, "--out", out]
        assert run(f"{__name__}:{name}", *arguments) == 0
        scored.append(json.loads((out / "scores.json").read_text(encoding="utf-8"))["metrics"])
        if name != "unseeded":
            break
    first = scored[0]
    assert [one["n_generated"] for one in first] == [70, 70]
    assert first[0]["per_seed"][0] != first[0]["per_seed"][1]  # new images for each seed
    if name == "unseeded":
        assert scored[2] == first
        assert scored[1][0]["per_seed"] == first[0]["per_seed"][::-1]


def test_the_images_of_a_generator_are_those_that_it_makes(monkeypatch):
    from bench.scoring.elsewhere import Generator
    from bench.scoring.setup import Setup

    made = Generator(f"{__name__}:sampler", "digits", Setup(device_choice="cpu"))
    images = torch.cat(list(made._blocks(70, 3)))
    expected = torch.cat([sampler(64, seeded(3, "sample", block)) for block in (0, 1)])[:70]
    assert torch.equal(images, ((expected + 1) * 127.5).round().to(torch.uint8))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unit_range", "gave no number below 0"),
        ("flat", "gave torch.float32 (64, 64) where 64 images were asked for"),
        ("faulty", "failed (KeyError: 'weights\\nmissing'): mend it"),
        ("Shapeless", "does not say what it is called with: give it an attribute latent_shape, z_dim"),
        ("NUMBER", "is a int: give a module"),
        ("none_such", "has no 'none_such'"),
    ],
)
def test_a_generator_that_cannot_be_scored_is_one_line(name, said, capsys):
    assert said in refused(capsys, f"{__name__}:{name}", "--dataset", "digits")


def test_images_that_are_not_finite_have_no_scores(capsys):
    assert run(f"{__name__}:infinite", "--dataset", "digits") == 1
    assert "diverged" in capsys.readouterr().err
    assert "say with --dataset" in refused(capsys, f"{__name__}:sampler")


def elsewhere(root, kid, seed=0, label="theirs"):
    """A fabricated record made elsewhere, with samples' scores alone."""
    data = fabricate.record("digits", label, seed, kid=kid)
    unknown = {"parameters": None, "parameters_trained": None, "network_evaluations_per_sample": None, "profile": ""}
    data |= unknown | {"origin": "elsewhere", "throughput": None, "curves": [], "images": {}}
    data["training"] = dict.fromkeys(("updates", "planned_updates", "batch_size", "seconds"))
    data["metrics"] = [one for one in data["metrics"] if one["group"] == "samples"]
    data["config"]["model"] = {"factory": "images"}
    write_record(root / "elsewhere" / f"{label}-{seed}" / "record.json", data)


def test_a_row_made_elsewhere_changes_no_verdict(tmp_path):
    """One set of images is no training seed: it is shown, better or not, and the models are tested without it."""
    for data in [*fabricate.decided("ebm"), *fabricate.decided("vae")]:
        fabricate.cell(tmp_path, data, pictures=False)
    (alone,) = split(read_all(tmp_path))
    elsewhere(tmp_path, kid=0.0001)
    (section,) = split(read_all(tmp_path) + read_elsewhere(tmp_path))
    assert rank(section) == rank(alone)
    assert rank(section).best["KID"] == "ebm"
    assert "theirs, made elsewhere" in [row[0].text for row in tables.tables(section)[0].rows]
    (cost,) = [table for table in tables.tables(section) if table.title == "Cost"]
    (row,) = [row for row in cost.rows if row[0].text == "theirs, made elsewhere"]
    assert {cell.text for cell in row[1:]} == {"–"}
    for seed in (1, 2):
        elsewhere(tmp_path, kid=0.0001 * (1 + seed / 100), seed=seed)
    (section,) = split(read_all(tmp_path) + read_elsewhere(tmp_path))
    assert rank(section).best["KID"] == "theirs, made elsewhere"  # with seeds of its own it is tested as any model


def test_a_report_holds_it(tmp_path):
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0), pictures=False)
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 1), pictures=False)
    elsewhere(tmp_path, kid=0.02)
    report.build(tmp_path)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "theirs, made elsewhere" in table
    assert "1 made elsewhere" in table
    assert "1 not run" not in table
    assert "No test includes theirs, made elsewhere: a test takes 3 training seeds" in table
    assert "null" not in (tmp_path / "index.html").read_text(encoding="utf-8").split("<main>")[1].split("<script>")[0]
