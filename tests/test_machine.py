"""What a record says of the machine: the commit that the code is of, and the peak of its memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.evaluation.throughput import sampler_throughput
from bench.machine import runtime
from tests.builders import energy_net, short_run

ROOT = Path(__file__).parent.parent


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@e.example"]
    run = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return run.stdout.strip()


def installed(folder: Path) -> Path:
    """A copy of the packages that git_state is asked in."""
    for name in ("errors.py", "__init__.py", "machine"):
        source, target = ROOT / "bench" / name, folder / "bench" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return folder


def state_in(folder: Path, **environment: str) -> list:
    code = "import json; from bench.machine.runtime import git_state; print(json.dumps(git_state()))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_only_the_projects_own_commit_is_recorded(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init")
    (other / "thesis.tex").write_text("words")
    git(other, "add", ".")
    git(other, "commit", "-m", "theirs")
    inside = installed(other / "venv" / "site-packages")
    assert state_in(inside) == [None, None]
    git(other, "add", "-f", ".")
    git(other, "commit", "-m", "the environment is tracked too")
    assert state_in(inside) == [None, None]
    at_top = installed(other)  # not tracked
    assert state_in(at_top) == [None, None]
    own = installed(tmp_path / "own")
    git(own, "init")
    git(own, "add", ".")
    git(own, "commit", "-m", "ours")
    assert state_in(own) == [git(own, "rev-parse", "HEAD"), False]
    assert state_in(own, GIT_DIR=str(other / ".git"))[0] == git(own, "rev-parse", "HEAD")
    (own / "bench" / "errors.py").write_text((own / "bench" / "errors.py").read_text() + "\n")
    assert state_in(own)[1] is True


def test_a_system_without_the_module_resource():
    code = (
        "import sys; sys.modules['resource'] = None\n"
        "import torch; from bench.machine import runtime\n"
        "print(runtime.peak_memory(torch.device('cpu')))\n"
        "from bench import compare, evaluate, status\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "(None, 'not known on this system')"


def test_a_throughput_without_a_peak(monkeypatch):
    monkeypatch.setattr(runtime, "resource", None)
    model = short_run(energy_net("plain", 1, 8), (1, 8, 8))
    assert sampler_throughput(model, batch_size=2, repeats=1, seed=0).peak_memory_mib is None
    assert runtime.peak_memory(torch.device("cpu"))[0] is None


def test_a_budget_on_one_thread_is_of_this_process_s_time():
    """On more threads, and on a GPU, it is of the time on the wall."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert runtime.stopwatch(torch.device("cpu")) is time.process_time
        assert runtime.stopwatch(torch.device("cuda")) is time.perf_counter
        torch.set_num_threads(2)
        assert runtime.stopwatch(torch.device("cpu")) is time.perf_counter
    finally:
        torch.set_num_threads(before)
