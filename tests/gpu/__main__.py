"""The GPU session: `python -m tests.gpu [PART ...]`, into results/gpu/.

Each part runs in a process of its own and has ten minutes. Exit status 0: all is well; 1: a part is not, or took too
long; 2: there is no CUDA device, or no such part. `--there` runs nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from bench.machine import gpu, runtime
from bench.storage.files import write_json, write_text
from tests.gpu import runs, summary, times

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "results" / "gpu"
LIMIT = 600  # seconds of a part
CUDA = torch.device("cuda")


def tests(folder: Path) -> bool:
    """Every test of a GPU; one that is skipped is as bad as one that fails."""
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "tests/gpu", "tests/test_engine.py", "-m", "cuda", "-rs"]
    subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT)
    found = counted(report)
    write_json(folder / "tests.json", found)
    return found["good"]


def counted(report: Path) -> dict[str, Any]:
    """What a JUnit report comes to: numbers of tests, and the names of those that did not pass."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    found: dict[str, Any] = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    found["failed"] = [f"{case.get('classname')}::{case.get('name')}" for case in suite.iter("testcase") if len(case)]
    found["good"] = found["tests"] > 0 and not (found["failures"] or found["errors"] or found["skipped"])
    return found


def timing(folder: Path) -> bool:
    sizes: list[dict[str, Any]] = []
    for size in times.measured(CUDA):
        sizes.append(size)
        write_json(folder / "times.json", {"sizes": sizes})  # a part that is cut short leaves what it has
    return True


def of_runs(name: str, run: Callable[[Path], dict[str, Any]]) -> Callable[[Path], bool]:
    def part(folder: Path) -> bool:
        found = run(emptied(folder / name))
        write_json(folder / f"{name}.json", found)
        return found["good"]

    return part


def precisions(folder: Path) -> bool:
    found: list[dict[str, Any]] = []
    for one in runs.precisions(emptied(folder / "precisions"), CUDA):
        found.append(one)
        write_json(folder / "precisions.json", {"runs": found})
    return all(one["status"] == "finished" for one in found)


# in this order: what is wrong in one makes the next ones worthless
PARTS: dict[str, Callable[[Path], bool]] = {
    "tests": tests,
    "times": timing,
    "smoke": of_runs("smoke", runs.smoke),
    "resume": of_runs("resume", runs.resume),
    "quick": of_runs("quick", runs.quick),
    "precisions": precisions,
}


def emptied(folder: Path) -> Path:
    """A folder of this session's own, without what an earlier one left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def session(parts: list[str], folder: Path) -> int:
    """Each part in a process of its own; nothing after tests that fail."""
    write_json(folder / "device.json", runtime.environment(CUDA))
    print(f"device: {runtime.described(CUDA)}", flush=True)
    bad = []
    for name in parts:
        (folder / f"{name}.json").unlink(missing_ok=True)
        good = alone([sys.executable, "-m", "tests.gpu", "--part", name])
        print(f"{name}: {'good' if good else 'NOT GOOD'}", flush=True)
        write_text(folder / "summary.md", summary.render(folder))
        bad += [] if good else [name]
        if name == "tests" and not good:
            print("a GPU that fails its tests measures nothing: the parts after them are left out", flush=True)
            break
    print(f"results: {folder / 'summary.md'}")
    return 1 if bad else 0


def alone(command: list[str], limit: float = LIMIT) -> bool:
    """Whether a command ends well within its time; after it, it is ended with every process that it has started."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        print(f"{' '.join(command[1:])}: not done after {limit:g} s", flush=True)
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    try:
        if not torch.cuda.is_available() or gpu.hindrance():
            raise UserError(f"there is no CUDA device that torch can use here{_reason()}: nothing was run")
        if arguments == ["--there"]:
            return 0
        wanted = arguments[1:] if arguments[:1] == ["--part"] else arguments
        if unknown := [name for name in wanted if name not in PARTS]:
            raise UserError(f"unknown part {unknown[0]!r}: choose some of {', '.join(PARTS)}")
        folder.mkdir(parents=True, exist_ok=True)
        if arguments[:1] == ["--part"]:
            runtime.configure()
            return 0 if PARTS[wanted[0]](folder) else 1
        return session([name for name in PARTS if not wanted or name in wanted], folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _reason() -> str:
    return f" ({hindrance})" if (hindrance := gpu.hindrance()) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
