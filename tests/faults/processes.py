"""The command line in processes of its own: started, watched, killed.

`start` is the command as a user types it. `fork` is the same `main` in a child of a server process that has imported
torch already: without it, fifty kills would be mostly fifty imports.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SMOKE = ("--profile", "smoke", "--quiet", "--threads", "1", "--device", "cpu")
PROJECTION = ("--features", "tests.faults.own_extractor:Projection")  # instead of a network of images
PATIENCE = 300.0  # seconds; only for tests that have failed already

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["bench.grid.grid", "bench.report", "ebm.training", "baselines.vae", "baselines.dcgan"])


def start(
    arguments: Sequence[str],
    *,
    module: str = "bench.compare",
    path: Sequence[str | Path] = (),  # put before what Python imports from
    **options: Any,  # of Popen
) -> subprocess.Popen[str]:
    """`python -m bench.compare ARGUMENTS`, at one thread, its standard error kept."""
    imports = os.pathsep.join([*map(str, path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": imports, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        **{"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        | options,
    )


def run(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """`start`, and its end awaited."""
    process = start(arguments, **options)
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def fork(arguments: Sequence[str], log: Path, *, report: bool = True) -> BaseProcess:
    """`bench.compare ARGUMENTS` in a child that has torch already; what it says is added to the file `log`.

    Without `report` it makes no tables and plots, which take longer than a cell of the smoke profile.
    """
    process = _server.Process(target=_child, args=(list(map(str, arguments)), log, report, dict(os.environ)))
    process.start()
    return process


def finish(arguments: Sequence[str], log: Path, *, report: bool = False) -> tuple[int, str]:
    """`fork`, and its end awaited: the exit status, negative for a signal, and what was said."""
    before = log.stat().st_size if log.exists() else 0
    process = fork(arguments, log, report=report)
    process.join(PATIENCE)
    assert process.exitcode is not None, log.read_text()
    return process.exitcode, log.read_bytes()[before:].decode()


def finished(arguments: Sequence[str], folder: Path) -> Path:
    """The results of a run that nothing happens to."""
    status, said = finish([*arguments, "--out", str(folder / "out")], folder / "log")
    assert status == 0, said
    return folder / "out"


def terminate(process: BaseProcess, log: Path) -> None:
    """SIGTERM for a run of `fork`, which ends with its status and one line that says how to go on."""
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    said = log.read_text()
    assert process.exitcode == 143, said
    assert last_line(said) == "bench.compare: SIGTERM; the same command continues where it stopped"
    assert "Traceback" not in said


def _child(arguments: list[str], log: Path, report: bool, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if not report:
        importlib.import_module("bench.report").build = lambda out: (out / "table.md").touch()
    sys.exit(importlib.import_module("bench.compare").main(arguments))


def wait_until(true: Callable[[], bool], process: BaseProcess | subprocess.Popen[str], pause: float = 0.001) -> bool:
    """Whether it became true before the process ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if true():
            return True
        if (process.exitcode if isinstance(process, BaseProcess) else process.poll()) is not None:
            return true()
        time.sleep(pause)
    raise TimeoutError(f"nothing happened in {PATIENCE:.0f} seconds")


def last_line(text: str) -> str:
    """The error's own line: the last one that is not empty."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
