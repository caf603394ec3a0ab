"""`python -m bench.paper`: run, continue, reuse, rebuild; what it refuses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compare
from bench.paper import __main__ as paper
from bench.paper import build
from bench.paper import plan as plans
from bench.results.cell_folder import read_all
from tests import paper_runs
from tests.commands import SMOKE

ROOT = Path(__file__).parent.parent
QUIET = ["--quiet", "--threads", "1", "--device", "cpu"]
FEW = """
description = "two cells"
profile = "smoke"

[table1]
models = ["ebm"]

[table2]
dataset = "digits"
points = [{ steps = 5 }, { steps = 3 }]

[table3a]
dataset = "digits"
points = [{ sigma = 0.15 }]

[toy]
updates = 2
"""


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".locks" not in p.parts
    }


def no_outputs(out: Path, plan: plans.Plan) -> list[Path]:
    """In the place of `build`, which takes seconds."""
    (out / build.INDEX).touch()
    return []


@pytest.fixture(scope="module")
def scale(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scale") / "few.toml"
    path.write_text(FEW, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, scale) -> Path:
    """A paper run of two cells, one of them shared by three tables, and the toy."""
    out = tmp_path_factory.mktemp("results") / "paper"
    assert paper.main(["--scale", str(scale), "--out", str(out), "--reuse", *QUIET]) == 0
    return out


def test_every_part_is_there(finished):
    assert [(r.model, r.seed) for r in read_all(finished / "main")] == [("ebm", 0)]
    (other,) = read_all(finished / "ebm.steps=3")
    assert other.data["config"]["model"]["steps"] == 3
    assert "python -m bench.paper --scale" in other.data["command"]
    assert len(list(finished.glob("*/cells"))) == 2  # the shared point is no third one
    names = {path.name for path in (finished / "tables").iterdir()}
    assert names == {f"table-{t}.{ending}" for t in ("1a", "1b", "2", "3a") for ending in ("csv", "md", "tex")}
    for name in ("tables.md", "index.html", "figures/score-by-K.png", "figures/score-by-sigma.png", "toy/toy.json"):
        assert (finished / name).stat().st_size > 500, name
    page = (finished / "index.html").read_text(encoding="utf-8")
    for words in ("Table 2: number of Langevin steps K", "182.5†", "reported: CIFAR-10 IS", "Scores by K"):
        assert words in page
    assert "ebm.steps=3/cells" in page


def test_rebuilding_needs_no_torch_and_gives_the_same_bytes(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    before = snapshot(copy)
    for pattern in ("tables", "figures"):
        shutil.rmtree(copy / pattern)
    (copy / "index.html").unlink()
    code = (
        "import sys\nfrom bench.paper.__main__ import main\n"
        f"assert main(['--rebuild', '--out', {str(copy)!r}]) == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Table 1a" in run.stdout
    assert "index.html" in run.stdout.splitlines()[-1]
    assert snapshot(copy) == before


def test_the_same_command_runs_nothing_again(finished, scale, monkeypatch, capsys):
    monkeypatch.setattr(build, "build", no_outputs)
    records = [path.stat().st_mtime_ns for path in sorted(finished.rglob("record.json"))]
    assert paper.main(["--scale", str(scale), "--out", str(finished), "--reuse", *QUIET]) == 0
    assert [path.stat().st_mtime_ns for path in sorted(finished.rglob("record.json"))] == records
    assert capsys.readouterr().err.count("already there (finished)") == 2


def test_finished_cells_of_another_folder_are_copied(finished, scale, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "build", no_outputs)
    monkeypatch.setattr("bench.grid.run.train", None)  # whatever is not copied fails
    out = tmp_path / "paper"
    assert paper.main(["--scale", str(scale), "--out", str(out), "--reuse", str(finished), *QUIET]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("reused: ") for line in lines].count(True) == 2
    for name in ("main", "ebm.steps=3"):
        theirs, ours = snapshot(finished / name / "cells"), snapshot(out / name / "cells")
        assert ours == theirs


def test_cells_with_other_settings_are_not_copied(finished, scale, tmp_path, monkeypatch, capsys):
    from bench.grid import reuse
    from bench.paper import run as cells
    from bench.scoring.setup import Setup

    plan = plans.load(str(scale))
    setup = Setup.of(paper.parser().parse_args(["--scale", str(scale), *QUIET]), plan.profile.features)
    requests = [cells.request(setup, plan, tmp_path, "", run) for run in plan.runs()]
    (record,) = read_all(finished / "main")
    assert reuse.copy(requests[1], [record]) == 0  # K = 3 is asked for
    assert "not reused" in capsys.readouterr().err
    for part, change in (
        ("data", {"content_hash": "0" * 64}),
        ("environment", {"threads": 99}),
        ("environment", {"device": "another CPU"}),
    ):
        changed = type(record)(record.path, record.data | {part: record.data[part] | change})
        assert reuse.copy(requests[0], [changed]) == 0
        assert "not reused" in capsys.readouterr().err
    assert not list(tmp_path.rglob("record.json"))


def test_main_is_a_folder_of_bench_compare(finished, monkeypatch, capsys):
    monkeypatch.setattr("bench.report.build", lambda out: [])
    assert compare.main([*SMOKE, "--device", "cpu", "--models", "ebm", "--out", str(finished / "main")]) == 0
    assert "already there (finished)" in capsys.readouterr().err


def test_a_diverged_cell_is_told_by_the_exit_status(finished, scale, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "build", no_outputs)
    monkeypatch.setattr("bench.engines.local.Local.complete", lambda *_: ["finished", "diverged"])
    assert (
        paper.main(["--scale", str(scale), "--out", str(tmp_path / "out"), "--reuse", "--only", "table2", *QUIET]) == 1
    )
    assert plans.stored(tmp_path / "out") is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "huge"], ["huge", "choose one of"]),
        (["--threads", "0"], ["--threads 0"]),
        (["--rebuild", "--out", "nowhere"], ["nowhere"]),
        (["--reuse", "nowhere"], ["--reuse nowhere"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert paper.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("bench.paper: ")
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


def test_another_profile_is_refused(tmp_path, capsys):
    plans.save(tmp_path, plans.load("smoke"))
    assert paper.main(["--scale", "quick", "--out", str(tmp_path)]) == 2
    assert "another profile (smoke" in capsys.readouterr().err


def test_a_damaged_record_is_named(tmp_path, capsys):
    out = paper_runs.write(tmp_path, plans.load("smoke"))
    path = next(out.glob("ebm.n_f=16/cells/*/*/*/record.json"))
    path.write_bytes(path.read_bytes().replace(b"finished", b"Finished", 1))
    assert paper.main(["--rebuild", "--out", str(out)]) == 2
    assert str(path) in capsys.readouterr().err


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom bench.paper.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "--scale" in run.stdout
