"""What the documentation shows works: the files under examples/, the command that joins them, the README's Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import compare
from bench.config.registry import factory
from bench.contract.seeds import seeded
from bench.results.cell_folder import read_all
from examples.ppca import PPCA
from tests.builders import trainer

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def joined(tmp_path_factory) -> Path:
    """The results of the command in docs/extending.md."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"python -m bench\.compare ((?:.*\\\n)+.*)", text)
    arguments = shlex.split(command.replace("\\\n", " "))
    out = tmp_path_factory.mktemp("mine") / "results"
    arguments[arguments.index("--out") + 1] = str(out)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert compare.main([*arguments, "--threads", "1", "--quiet"]) == 0
    return out


def test_the_four_examples_work_together(joined):
    records = {record.model: record for record in read_all(joined)}
    assert records.keys() == {"vae", "PPCATrainer"}
    mine = records["PPCATrainer"]
    assert mine.dataset == "examples.stripes-SOURCE"
    assert [m["name"] for m in mine.metrics if m["group"] == "samples"] == ["KID", "mean distance"]
    assert mine.metric("KID")["label"] == "KID(random-projection, 16 px)"
    assert mine.metric("negative log likelihood gap") is not None
    assert mine.metric("noise deviation")["value"] > 0
    assert "mean distance" in (joined / "table.md").read_text(encoding="utf-8")


def test_the_example_model_is_the_density_that_it_says():
    """Its posterior mean and likelihood are those of the joint Gaussian of image and latent."""
    model = trainer("examples.ppca:PPCATrainer").model.double()
    assert isinstance(model, PPCA)
    x = torch.rand(5, *model.image_shape, generator=seeded("x")).double() * 2 - 1
    w, variance = model.components.detach(), model.log_variance.exp().detach()
    covariance = w @ w.T + variance * torch.eye(len(w))
    centred = (x.flatten(1) - model.mean).detach()
    expected = (w.T @ torch.linalg.solve(covariance, centred.T)).T
    found = model.invert_latents(x, 1, seeded("unused"))
    torch.testing.assert_close(found, expected.double())
    exact = torch.distributions.MultivariateNormal(model.mean.detach(), covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(model.ood_score(x), -exact)


def test_an_example_states_settings_that_train_in_seconds():
    assert factory("examples.ppca:PPCATrainer").Config.smoke["updates"] <= 100


def test_the_python_of_the_readme_runs(joined):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) < 20
    for theirs, ours in (
        ('Path("results/quick")', f"Path({str(joined)!r})"),
        ("efficientnet-lite0@112", "examples.pixels:Projection"),
        ('"digits"', '"examples.stripes:SOURCE"'),
        ("samples=256", "samples=64, budget=3, paths=4, sweep_samples=0"),
    ):
        assert theirs in code
        code = code.replace(theirs, ours)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert [line.split()[1] for line in said.splitlines()[:2]] == ["PPCATrainer", "vae"]  # a line for each record
    assert "KID(random-projection, 16 px)" in said
