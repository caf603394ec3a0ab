"""The command line: what bad input gets, and what it lists."""

from __future__ import annotations

import textwrap

import pytest
from PIL import Image

from bench import compare
from bench.config.registry import MODELS
from tests.commands import OWN_MODEL, SMOKE, refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--datasets", "cifar"], ["'cifar'", "cifar10", "folder:PATH"]),
        (["--models", "gan"], ["'gan'", "ebm, ebm-residual, ebm-multigrid, vae, dcgan", "package.module:factory"]),
        (["--models", "no.such.module:f"], ["no.such.module:f", "cannot be imported"]),
        (["--models", "bench.contract.model:Nothing"], ["'Nothing'"]),
        (["--models", "bench.contract.config:require"], ["not a factory"]),
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
        (["--evaluation-seeds", "2", "2"], ["--evaluation-seeds 2 2", "once"]),
        (["--set", "evaluation.sweep=3"], ["evaluation.sweep=3", "not a list"]),
        (["--set", "evaluation.sweep=[1, 'a']"], ["evaluation.sweep='a'", "float"]),
        (["--set", "evaluation.sweep_samples=10"], ["evaluation.sweep_samples=10", "at least 64"]),
        (["--set", "evaluation.restarts=4"], ["evaluation.restarts=4", "budget, 3"]),
        (["--set", "evaluation.ood=['no-such-set']"], ["'no-such-set'", "choose from"]),
        (["--set", "data.max_train=40"], ["digits", "40 training images", "at least 64"]),
        (["--threads", "0"], ["--threads 0"]),
        (["--jobs", "0"], ["--jobs 0", "at least 1"]),
        (["--jobs", "-2"], ["--jobs -2", "at least 1"]),
        (["--jobs", "100000"], ["--jobs 100000", "cores", "at most"]),
        (["--image-size", "16"], ["digits", "16"]),
        (["--datasets", "cifar10", "--data-root", "nowhere", "--set", "data.image_size=64"], ["cifar10", "64"]),
        (["--datasets", "celeba", "--data-root", "nowhere"], ["img_align_celeba"]),
        (["--datasets", "folder:no/such/place"], ["no/such/place"]),
        (["--extractor-weights", "no.pth", "--features", "inception"], ["no.pth"]),
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


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    refused(["--out", str(tmp_path / "out")], capsys, "is a file")
    assert (tmp_path / "out").read_text() == "mine"


def test_unsupported_image_size_names_the_good_ones(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for i in range(80):  # enough to be scored
        Image.new("RGB", (48, 48), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    refused(
        ["--datasets", f"folder:{tmp_path / 'images'}", "--out", str(tmp_path / "out")],
        capsys,
        "side 48",
        "8, 16, 28, 32, 64, 128",
    )


def test_model_that_breaks_the_contract_is_told_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "broken.py").write_text(textwrap.dedent(OWN_MODEL).replace("def step", "def leap"))
    monkeypatch.syspath_prepend(tmp_path)
    refused(["--models", "broken:NoiseTrainer", "--out", str(tmp_path / "out")], capsys, "lacks step", "docs/models.md")
    (tmp_path / "old.py").write_text(
        textwrap.dedent(OWN_MODEL).replace(
            "def sample_latents", "reconstructs_by_inversion = True\n    def sample_latents"
        )
    )
    refused(["--models", "old:NoiseTrainer", "--out", str(tmp_path / "out")], capsys, "takes no `observe`")
    (tmp_path / "wide.py").write_text(textwrap.dedent(OWN_MODEL).replace(".clamp(-1, 1)", " + 5"))
    arguments = ["--models", "wide:NoiseTrainer", "--out", str(tmp_path / "out2"), "--set", "NoiseTrainer.updates=2"]
    assert compare.main([*SMOKE, *arguments]) == 2
    assert "sample must return images in [-1, 1]" in capsys.readouterr().err


def test_list_names_everything(tmp_path, capsys):
    assert compare.main(["--list", "--data-root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for word in ("digits", "celeba", "lsun-bedroom", "folder:PATH", "there", "missing", *MODELS, "smoke", "paper"):
        assert word in text
