"""Sessions: benchmark, paper, race, tests, pythons, lint, docs, kernels, scale, faults, fuzz, trackers, gpu (--list).

All but `pythons` share one environment, `.venv`, made on first use: nox's own would each hold another copy of torch.
What follows `--` goes to the command.
"""

from __future__ import annotations

import hashlib
import os
import re
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
TORCHEBM, EBMKIT = "0.8.9", "0.16.0"  # peers of the kernels; pyproject.toml's extra `peers` has the first as well
PEERS = VENV / "peers" / "ebmkit"
INPUTS = ("pyproject.toml", "constraints.txt")


def supported() -> tuple[tuple[int, int], tuple[int, int]]:
    """The lowest and the highest Python that pyproject.toml takes, as (3, minor)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.search(r'requires-python = ">=(\d+)\.(\d+),<(\d+)\.(\d+)"', text)
    low, minor, high, beyond = map(int, needed.groups())
    return (low, minor), (high, beyond - 1)


PYTHONS = [f"3.{minor}" for minor in range(supported()[0][1], supported()[1][1] + 1)]
TESTS = ("-m", "pytest", "-n", "auto", "--dist", "loadfile")  # a file's tests share their fixtures, and so a process


def environment(session: nox.Session) -> str:
    """The python of the shared environment, which is made, or brought up to date with its inputs, when needed."""
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in INPUTS)).hexdigest()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return str(PYTHON)
    _refuse_other_pythons(session)
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


def _refuse_other_pythons(session: nox.Session) -> None:
    """End the session before anything is downloaded where the project does not take the environment's Python."""
    (lowest, highest), found = supported(), tuple(sys.version_info[:2])
    if PYTHON.exists():
        tell = "import sys; print(*sys.version_info[:2])"
        run = subprocess.run([str(PYTHON), "-c", tell], check=True, capture_output=True, text=True)
        found = tuple(map(int, run.stdout.split()))
    if not lowest <= found <= highest:
        least, most, other = (".".join(map(str, version)) for version in (lowest, highest, found))
        first = f"move {VENV} away, then " if PYTHON.exists() else ""
        wanted, why = (least, f"{least} or newer") if found < lowest else (most, f"at most {most}")
        remedy = f"{first}run nox by it, for instance after pipx install --python python{wanted} nox"
        session.error(f"this project needs Python {why}, not {other}: {remedy}")


def one_thread_a_cell() -> list[str]:
    """Two cells side by side where there are two cores: the quick profile's training times are equal on one thread."""
    cores = str(min(2, os.cpu_count() or 1))
    return ["--jobs", cores, "--threads", cores]


@nox.session
def benchmark(session: nox.Session) -> None:
    """The quick profile: digits, five models, three seeds, tables and plots in results/quick."""
    options = ["--profile", "quick", *one_thread_a_cell()]
    session.run(environment(session), "-m", "bench.compare", *options, *session.posargs, external=True)


@nox.session
def paper(session: nox.Session) -> None:
    """The paper's tables and figures at the quick scale (docs/paper.md); `-- --scale cpu` for another one."""
    session.run(environment(session), "-m", "bench.paper", *one_thread_a_cell(), *session.posargs, external=True)


@nox.session
def race(session: nox.Session) -> None:
    """Score against training seconds: the quick profile's models and the published algorithm (docs/race.md)."""
    session.run(environment(session), "-m", "bench.race", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, a process for each core."""
    session.run(environment(session), *TESTS, *session.posargs, external=True)


@nox.session(python=PYTHONS, venv_backend="venv", reuse_venv=True)
def pythons(session: nox.Session) -> None:
    """The test suite under each supported Python that is there, with an environment and a copy of torch for each.

    `nox -s pythons-3.13` takes one of them; a Python that is not there is skipped.
    """
    session.install("--quiet", "--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run("python", *TESTS, *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Faults injected into whole runs: kills, signals, damage, a full disk (docs/reliability.md); some minutes."""
    session.run(environment(session), "-m", "pytest", "tests/faults", *session.posargs, external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Readers of files against 100,000 inputs each; `-- --inputs N` for another number."""
    python = environment(session)
    if subprocess.run([python, "-c", "import atheris"], stderr=subprocess.DEVNULL).returncode:
        extra = ["--constraint", "constraints.txt", "--editable", ".[fuzz]"]
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *extra], cwd=ROOT).returncode:
            session.warn("atheris is not there for this Python: hypothesis alone")
    session.run(python, "-m", "tests.fuzz", *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, site/index.html: every link is checked, and a warning is an error."""
    python = environment(session)
    extra = ["--constraint", "constraints.txt", "--editable", ".[docs]"]
    if subprocess.run([python, "-c", "import mkdocs, mkdocstrings"], stderr=subprocess.DEVNULL).returncode:
        session.run(python, "-m", "pip", "install", "--quiet", *extra, external=True)
    session.run(python, "-m", "mkdocs", "build", "--strict", *session.posargs, external=True)


@nox.session
def trackers(session: nox.Session) -> None:
    """Trackers by their own readers (docs/tracking.md): TensorBoard, MLflow, Weights & Biases."""
    python = environment(session)
    extra = ["--constraint", "constraints.txt", "--editable", ".[tensorboard,mlflow,wandb]"]
    if subprocess.run([python, "-m", "pip", "install", "--quiet", *extra], cwd=ROOT).returncode:
        session.warn("not all trackers are installed: the tests of the others are skipped")
    session.run(python, "-m", "pytest", "tests/test_tracking.py", "-rs", *session.posargs, external=True)


def install_peers(session: nox.Session, python: str) -> None:
    """What the kernels are timed against, where it is missing. Without it the session runs, and says what is missing.

    ebmkit's import name is this project's own, `ebm`: it goes into a folder that only its own process sees.
    """
    installed = session.run(python, "-m", "pip", "list", "--format=freeze", external=True, silent=True)
    wanted = []
    if f"torchebm=={TORCHEBM}" not in installed.split():
        wanted.append(["--constraint", "constraints.txt", "--editable", ".[peers]"])
    if not (PEERS / f"ebmkit-{EBMKIT}.dist-info").exists():
        wanted.append(["--no-deps", "--upgrade", "--target", str(PEERS), f"ebmkit=={EBMKIT}"])  # it needs torch alone
    for arguments in wanted:
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], cwd=ROOT).returncode:
            session.warn(f"not installed: {arguments[-1]}; its columns will say so")


@nox.session
def kernels(session: nox.Session) -> None:
    """Times of the kernels against floor, reference and peers; also `-- compare OLD.json` (docs/kernels.md)."""
    python = environment(session)
    if len(session.posargs) < 3 or session.posargs[0] != "compare":  # two given files are compared as they are
        install_peers(session, python)
    session.run(python, "-m", "tests.kernels", *session.posargs, external=True)


@nox.session
def scale(session: nox.Session) -> None:
    """What the engines cost a cell, and what two workers gain (docs/scale.md); `-- overhead` or `-- speedup` alone."""
    session.run(environment(session), "-m", "tests.scale", *session.posargs, external=True)


@nox.session
def gpu(session: nox.Session) -> None:
    """What a first run on a GPU must show, in parts of ten minutes (docs/scale.md); `-- tests times` for some."""
    python = environment(session)
    if subprocess.run([python, "-m", "tests.gpu", "--there"], cwd=ROOT).returncode:
        session.error("nothing was run")
    install_peers(session, python)
    session.run(python, "-m", "tests.gpu", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    python = environment(session)
    session.run(python, "-m", "ruff", "check", ".", external=True)
    session.run(python, "-m", "ruff", "format", "--check", ".", external=True)
