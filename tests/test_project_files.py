"""What a clone and a source distribution hold, and what nox says under an old Python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest

from bench.results.cell_folder import read_all

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "results" / "reference" / "paper" / "main"


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@e.example", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_a_clone_that_turns_line_ends_keeps_every_byte(tmp_path):
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    cell = sorted(REFERENCE.glob("cells/*/*/seed-*"))[0]
    shutil.copytree(cell, origin / cell.relative_to(REFERENCE))
    for name in (".gitattributes", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, origin / name)
    shutil.copy(REFERENCE / "table.md", origin)
    git(origin, "init")
    git(origin, "add", ".")
    git(origin, "commit", "-m", "all")
    git(tmp_path, "clone", "-c", "core.autocrlf=true", str(origin), str(clone))
    files = [path for path in origin.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert len(files) > 8
    for path in files:
        assert (clone / path.relative_to(origin)).read_bytes() == path.read_bytes(), path
    assert len(read_all(clone)) == 1


def build(kind: str, source: Path, target: Path) -> Path:
    """Build in a process of its own, with the setuptools that is installed."""
    target.mkdir()
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    run = subprocess.run([sys.executable, "-c", code, str(target)], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (built,) = target.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_source_distribution_is_whole_and_builds_the_same_wheel(tmp_path):
    pytest.importorskip("setuptools", "77")
    source = tmp_path / "source"
    large = ("cells", "plots", "ebm.*")  # of the reference results: what is left shows that they are taken
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    source.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
        elif path.name in ("bench", "ebm", "baselines", "tests", "docs", "examples", ".ci"):
            shutil.copytree(path, source / path.name, ignore=unwanted)
    shutil.copytree(ROOT / "results" / "reference", source / "results/reference", ignore=shutil.ignore_patterns(*large))
    shutil.copy(ROOT / "results" / "README.md", source / "results")
    wanted = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    sdist = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    inside = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    missing = wanted - inside
    assert not missing
    built = [build("wheel", place, tmp_path / f"wheel{i}") for i, place in enumerate((source, unpacked))]
    wheels = [contents(wheel) for wheel in built]
    assert wheels[0] == wheels[1]
    assert {"bench/compare.py", "bench/config/profiles/quick.toml", "bench/paper/reported.toml"} <= wheels[0].keys()
    runs_outside_the_checkout(built[1], tmp_path / "site")


OUTSIDE = """
import sys
from pathlib import Path
import bench
from bench import compare
from bench.report.page import page
from bench.report.plots import style
from bench.report.tables import html
assert Path(bench.__file__).is_relative_to(sys.argv[1]), bench.__file__
assert compare.main(["--list"]) == 0
html.environment(page._TEMPLATES).get_template("page.html")
assert style._SHEET.is_file()
"""


def runs_outside_the_checkout(wheel: Path, target: Path) -> None:
    """What pip makes of the wheel finds its own files, from a folder that has nothing to do with the project."""
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(target)]
    run = subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], capture_output=True, text=True)
    if "No module named pip" in run.stderr:
        pytest.skip("no pip")
    assert run.returncode == 0, run.stderr
    elsewhere = target.with_name("elsewhere")
    elsewhere.mkdir()
    own = {"env": os.environ | {"PYTHONPATH": str(target)}, "cwd": elsewhere, "capture_output": True, "text": True}
    run = subprocess.run([sys.executable, "-c", OUTSIDE, str(target)], **own)
    assert run.returncode == 0, run.stderr
    for word in ("digits", "ebm-multigrid", "quick", "paper"):
        assert f"\n  {word} " in run.stdout
    (script,) = (target / ("Scripts" if os.name == "nt" else "bin")).glob("shortrun*")
    run = subprocess.run([str(script), "--version"], **own)
    assert run.stdout.strip() == f"shortrun {project()['version']}"


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_page_is_in_the_navigation_of_the_site():
    """`nox -s docs` checks the links; a page that is missing here would be noticed there alone."""
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"([\w/]+\.md)$", nav, re.MULTILINE)
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(named)
    made = ("index.md", "reference/")  # by docs/site_hooks.py
    others = [name for name in named if not name.startswith(made)]
    assert all((ROOT / "docs" / name).is_file() or (ROOT / name).is_file() for name in others)


def test_the_citation_agrees_with_the_project():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^([\w-]+): (.+)$", text, re.MULTILINE))
    assert stated["cff-version"] == "1.2.0"
    assert (stated["version"], stated["license"]) == (project()["version"], project()["license"])
    assert "arXiv:1904.09770" in text
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text(encoding="utf-8"))[1]
    assert f"name: {holder}\n" in text


class StoppedError(Exception):
    """What a nox session raises to end."""


class Session:
    posargs = ()

    def error(self, *words):
        raise StoppedError(*words)

    def log(self, *words):
        pass


@cache  # nox takes each session once
def sessions():
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def noxfile(tmp_path, monkeypatch):
    """The sessions' module, whose environment would be in an empty folder; nothing can be run."""
    pytest.importorskip("nox")
    module = sessions()
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / ".installed")
    monkeypatch.setattr(module.subprocess, "run", lambda *args, **options: pytest.fail(f"ran {args}"))
    return module


def test_nox_under_an_old_python_says_so_at_once(noxfile, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(StoppedError, match=r"needs Python 3\.11 or newer, not 3\.10: run nox by it"):
        noxfile.environment(Session())


def test_nox_under_a_python_that_torch_has_no_build_for_says_so_at_once(noxfile, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 15, 0, "final", 0))
    with pytest.raises(StoppedError, match=r"needs Python at most 3\.14, not 3\.15: run nox by it"):
        noxfile.environment(Session())


def test_the_classifiers_are_the_pythons_that_are_taken():
    low, high = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project()["requires-python"]).groups())
    stated = [one.rpartition(" ")[2] for one in project()["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert stated == [f"3.{minor}" for minor in range(low, high)]


def test_nox_has_a_session_for_each_python_that_is_taken():
    pytest.importorskip("nox")
    stated = [one.rpartition(" ")[2] for one in project()["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert stated == sessions().PYTHONS


def test_an_old_environment_is_named(noxfile, monkeypatch):
    noxfile.PYTHON.parent.mkdir(parents=True)
    noxfile.PYTHON.touch()
    told = subprocess.CompletedProcess([], 0, stdout="3 10\n")
    monkeypatch.setattr(noxfile.subprocess, "run", lambda *args, **options: told)
    with pytest.raises(StoppedError, match=r"not 3\.10: move .*\.venv away"):
        noxfile.environment(Session())
