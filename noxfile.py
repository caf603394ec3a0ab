"""Sessions: `nox -s benchmark`, `tests`, `kernels`, `lint`. All share one environment, `.venv`, made on first use.

nox's own environments are not used: each would hold another copy of torch. What follows `--` goes to the command.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".installed"  # hash of what was installed for
INPUTS = ("pyproject.toml", "constraints.txt")


def environment(session: nox.Session) -> str:
    """The python of the shared environment, which is made, or brought up to date with its inputs, when needed."""
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return str(PYTHON)
    session.log(f"installing into {VENV} (once; a few minutes for torch)")
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    install = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        "constraints.txt",
        "--editable",
        ".[dev]",
    ]
    subprocess.run(install, cwd=ROOT, check=True)
    STAMP.write_text(wanted)
    return str(PYTHON)


@nox.session
def benchmark(session: nox.Session) -> None:
    """The quick profile: digits, three models, three seeds, tables and plots in results/quick."""
    session.run(environment(session), "-m", "bench.compare", "--profile", "quick", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite."""
    session.run(environment(session), "-m", "pytest", *session.posargs, external=True)


@nox.session
def kernels(session: nox.Session) -> None:
    """Times of Langevin kernels against the bare convolutions, with pytest-benchmark."""
    arguments = session.posargs or ["--benchmark-json", str(ROOT / "results" / "kernels.json")]
    command = ("-m", "pytest", "tests/kernels", "--benchmark-enable", "--benchmark-only")
    session.run(environment(session), *command, *arguments, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    python = environment(session)
    session.run(python, "-m", "ruff", "check", ".", external=True)
    session.run(python, "-m", "ruff", "format", "--check", ".", external=True)
