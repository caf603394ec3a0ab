"""A package that adds a model, a data set, a metric and an extractor by name, really built and installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bench.contract import plugins
from bench.errors import UserError
from bench.results.cell_folder import read_all

ROOT = Path(__file__).parent.parent
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny-gadgets"
version = "1.5"
[project.entry-points."shortrun.models"]
tiny-ppca = "tiny_gadgets.ppca:PPCATrainer"
vae = "tiny_gadgets.ppca:PPCATrainer"
gone = "tiny_gadgets.no_such_file:Trainer"
shapeless = "tiny_gadgets.ppca"
[project.entry-points."shortrun.datasets"]
tiny-stripes = "tiny_gadgets.stripes:SOURCE"
[project.entry-points."shortrun.metrics"]
tiny-mean = "tiny_gadgets.feature_mean:METRIC"
[project.entry-points."shortrun.extractors"]
tiny-pixels = "tiny_gadgets.pixels:Projection"
[tool.setuptools]
packages = ["tiny_gadgets"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which pip installed the package; its modules are the examples'."""
    pytest.importorskip("setuptools", "77")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    shutil.copytree(ROOT / "examples", source / "tiny_gadgets", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    run = subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], capture_output=True)
    if run.returncode and b"No module named pip" in run.stderr:
        pytest.skip("no pip")
    assert run.returncode == 0, run.stderr
    return target


SCRIPT = """
import json
import sys
from bench import compare, report
from bench.config import registry
from bench.contract import plugins
from bench.errors import UserError
told = []
for name in ("gone", "shapeless", "no-such-name"):
    try:
        registry.factory(name)
    except UserError as error:
        told.append(str(error))
told += [registry.factory("vae").__module__ for _ in range(2)]
print(json.dumps([told, plugins.added("model", registry.MODELS), plugins.names("model", registry.MODELS)]))
report.build = lambda out: (out / "table.md").write_text("")  # which takes longer than the cell
sys.exit(compare.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def ran(site, tmp_path_factory):
    """What a process with the package on its path tells, and the results folder that it filled."""
    out = tmp_path_factory.mktemp("ran") / "results"
    arguments = ["--profile", "smoke", "--datasets", "tiny-stripes", "--models", "tiny-ppca", "--seeds", "0"]
    settings = ["evaluation.metrics=['KID', 'tiny-mean']", "evaluation.sweep_samples=0", "evaluation.budget=2"]
    arguments += ["--features", "tiny-pixels", "--set", *settings, "--out", str(out), "--threads", "1", "--quiet"]
    places = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    run = subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run, out


def test_what_a_package_adds_runs_by_its_names(ran):
    """The entries of the same package that lead nowhere do no harm."""
    (mine,) = read_all(ran[1])
    assert (mine.model, mine.dataset) == ("tiny-ppca", "tiny-stripes")
    assert [m["name"] for m in mine.metrics if m["group"] == "samples"] == ["KID", "mean distance"]
    assert mine.data["config"]["model"]["factory"] == "tiny-ppca"


def test_what_leads_nowhere_is_one_line_that_names_the_package(ran):
    (gone, shapeless, unknown, *vae), added, names = json.loads(ran[0].stdout.splitlines()[0])
    assert vae == 2 * ["baselines.vae"]
    (line,) = [line for line in ran[0].stderr.splitlines() if "'vae'" in line]  # once
    assert line.startswith("model 'vae' is the suite's own, not tiny_gadgets.ppca:PPCATrainer of ")
    assert line.endswith(": name that as tiny_gadgets.ppca:PPCATrainer")
    assert gone.startswith("model 'gone' of the installed package tiny-gadgets 1.5 cannot be imported (")
    assert gone.endswith(": mend or uninstall that package")
    assert "is entered as tiny_gadgets.ppca, not as package.module:factory" in shapeless
    assert "tiny-ppca" in unknown
    assert "choose one of ebm, " in unknown
    assert added["tiny-ppca"] == "tiny_gadgets.ppca:PPCATrainer of the installed package tiny-gadgets 1.5"
    assert added["vae"].startswith("the suite's own is taken instead of ")
    assert names.count("vae") == 1


def test_two_packages_with_one_name_are_a_clash(tmp_path, monkeypatch):
    for package in ("one", "two"):
        folder = tmp_path / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[shortrun.models]\ntwin = {package}.model:Trainer\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.installed.cache_clear()
    try:
        assert len(list(metadata.entry_points(group="shortrun.models", name="twin"))) == 2
        with pytest.raises(UserError, match=r"^model 'twin' could be one\.model:Trainer of .* one 1\.0 or two\.model"):
            plugins.load("twin", "model", {})
        assert plugins.added("model", {})["twin"].startswith("a clash: ")
    finally:
        plugins.installed.cache_clear()
