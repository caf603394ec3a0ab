"""The session `nox -s gpu` where there is no GPU: its one line, what it makes of results, and its measurements."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from tests.fabricate import record
from tests.fused_stand_in import StandIn
from tests.gpu import __main__ as session
from tests.gpu import runs, summary, times
from tests.pretend_cuda import CUDA, pretended

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("arguments", [[], ["times"], ["--part", "tests"], ["--there"]], ids=str)
def test_without_a_gpu_it_says_so_in_one_line(arguments, tmp_path, capsys):
    assert session.main(arguments, tmp_path / "gpu") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: there is no CUDA device that torch can use here: nothing was run"
    assert not (tmp_path / "gpu").exists()


@no_gpu
def test_a_part_that_is_not_there(tmp_path, capsys):
    with pretended():
        assert session.main(["--there"], tmp_path) == 0
        assert session.main(["tets"], tmp_path) == 2
    assert "unknown part 'tets': choose some of tests, times, smoke, resume, quick" in capsys.readouterr().err


@no_gpu
def test_nothing_is_run_after_tests_that_fail(tmp_path, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(session, "alone", lambda command: ran.append(command[-1]) or command[-1] != "tests")
    with pretended():
        assert session.main(["smoke", "tests"], tmp_path) == 1
        assert ran == ["tests"]
        assert session.main(["smoke", "times"], tmp_path) == 0
    assert ran == ["tests", "times", "smoke"]  # in the session's order
    assert "## times\n\nNot run" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "device.json").read_text())["device"] == "pretended GPU"


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes are of POSIX")
def test_a_part_has_its_time(capsys):
    assert session.alone([sys.executable, "-c", ""], 60)
    assert not session.alone([sys.executable, "-c", "raise SystemExit(1)"], 60)
    assert not session.alone([sys.executable, "-c", "import time; time.sleep(600)"], 0.5)
    assert "not done after 0.5 s" in capsys.readouterr().out


PASSED, SKIPPED = '<testcase classname="t" name="a" />', '<testcase classname="t" name="b"><skipped /></testcase>'


@pytest.mark.parametrize(
    ("cases", "skipped", "good", "failed"),
    [(PASSED, 0, True, []), (PASSED + SKIPPED, 1, False, ["t::b"]), ("", 0, False, [])],
)
def test_a_skipped_test_is_not_good(cases, skipped, good, failed, tmp_path):
    n = cases.count("<testcase")
    head = f'<testsuite name="pytest" errors="0" failures="0" skipped="{skipped}" tests="{n}">'
    (tmp_path / "tests.xml").write_text(f"<testsuites>{head}{cases}</testsuite></testsuites>")
    found = session.counted(tmp_path / "tests.xml")
    assert (found["good"], found["failed"], found["tests"]) == (good, failed, n)


class Made:
    """What `runs` reads of a record."""

    def __init__(self, model: str, seed: int, kid: float):
        content = record("digits", model, seed, kid=kid)
        self.dataset, self.model, self.metrics = "digits", model, content["metrics"]


def test_scores_are_held_against_the_same_model_s():
    there = [Made("ebm", seed, kid) for seed, kid in enumerate((0.1, 0.2, 0.3))] + [Made("vae", 0, 9.0)]
    (row,) = [one for one in runs.against([Made("ebm", 0, 0.4)], there) if one["score"].startswith("KID")]
    assert (row["model"], row["gpu"], row["seeds"]) == ("ebm", 0.4, 3)
    assert row["cpu"] == pytest.approx(0.2)
    assert row["deviation"] == pytest.approx(0.1)
    assert not runs.against([Made("dcgan", 0, 0.4)], there)


@no_gpu
def test_measurements_and_summary(tmp_path, monkeypatch):
    """On a pretended device, at tiny sizes: every number that the summary shows is there."""
    monkeypatch.setattr(times, "ROUNDS", 1)
    with pretended() as device:
        StandIn().install(device, monkeypatch)
        size = times.one_size(4, 8, CUDA, steps=2, batch=4)
        small = {"n_f": 4, "steps": 2, "batch_size": 4}
        found = list(runs.precisions(tmp_path, CUDA, updates=2, **small))
    assert {name.split()[0] for name in size["seconds"]} == {"chain", "floor", "update"}
    assert {"chain bf16", "chain bf16, unfused", "floor bf16 NCHW", "floor float32 NHWC", "update tf32"} <= size[
        "seconds"
    ].keys()
    assert [(one["precision"], one["status"], one["updates"]) for one in found] == [
        (precision, "finished", 2) for precision in ("float32", "tf32", "bf16")
    ]
    size["peers"] = {"seconds": {"published": 1.0}, "versions": {"published": "1", "torchebm": "not installed"}}
    scores = [{"model": "ebm", "score": "KID", "gpu": 0.4, "cpu": 0.2, "deviation": 0.1, "seeds": 3}]
    contents = {
        "times": {"sizes": [size]},
        "precisions": {"runs": found},
        "tests": {"good": True, "tests": 3, "failures": 0, "errors": 0, "skipped": 0, "failed": []},
        "smoke": {"good": False, "different": ["samples.png"], "scores": scores},
        "resume": {"good": True, "status": 143, "stopped_at": [7], "of": 9, "different": []},
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    text = summary.render(tmp_path)
    for words in (
        "all passed, none skipped: 3 tests",
        "### n_f = 4, side 8, batch 4, K = 2",
        "Not installed: torchebm.",
        "TWO RUNS DIFFER: samples.png",
        "| ebm | KID | 0.4 | 0.2 | +2.0 | 3 |",
        "Stopped at update 7 of 9 (status 143) and continued. The same as one never stopped.",
        "## quick\n\nNot run",
        "| bf16 | finished | 2 |",
        "| chain float32, unfused |",
    ):
        assert words in text, words
