"""Fuzz the readers: `python -m tests.fuzz [--inputs N] [--engine hypothesis|atheris|both] [--readers record ...]`.

Exit status 0: no reader did anything but accept or raise a documented error; 1: one did, and the input that did it is
kept under results/fuzz; 2: a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.watched import MODULES

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / "results" / "fuzz"
ENGINES = ("hypothesis", "atheris")


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of files.")
    p.add_argument("--inputs", type=int, default=100_000, metavar="N", help="for each reader and engine (100,000)")
    p.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    p.add_argument("--readers", nargs="+", choices=tuple(MODULES), default=list(MODULES))
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (0)")
    chosen = p.parse_args(arguments)
    if chosen.inputs < 1:
        p.error(f"--inputs {chosen.inputs}: give at least 1")
    engines = ENGINES if chosen.engine == "both" else (chosen.engine,)
    if "atheris" in engines and importlib.util.find_spec("atheris") is None:
        print("atheris: skipped, the package is not installed (pip install -e .[fuzz])")
        engines = tuple(name for name in engines if name != "atheris")
    run = {"hypothesis": by_hypothesis, "atheris": by_atheris}
    sound = [run[engine](reader, chosen.inputs, chosen.seed) for engine in engines for reader in chosen.readers]
    return 0 if all(sound) else 1


def by_hypothesis(reader: str, inputs: int, seed: int) -> bool:
    from tests.fuzz.by_hypothesis import fuzz
    from tests.fuzz.subjects import SUBJECTS

    started = time.monotonic()
    outcome = fuzz(SUBJECTS[reader], inputs, seed)
    seconds = time.monotonic() - started
    told = f"{outcome.inputs:,} inputs, {outcome.accepted:,} accepted, {seconds:.0f} s"
    print(f"hypothesis {reader}: {told}", flush=True)
    if outcome.failure is None:
        return True
    content, error = outcome.failure
    traceback.print_exception(error, limit=-6)
    print(f"hypothesis {reader}: FAILED, the input is {keep(reader, content)}", flush=True)
    return False


def by_atheris(reader: str, inputs: int, seed: int) -> bool:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz.by_atheris", reader, folder]
        options = [f"-runs={inputs}", f"-seed={seed + 1}", "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1"]
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, errors="replace")
        broken = [path.read_bytes() for path in Path(folder).iterdir() if path.is_file()]
    output = done.stdout + done.stderr
    executed = re.findall(r"stat::number_of_executed_units:\s*(\d+)", output) or re.findall(r"^#(\d+)", output, re.M)
    covered = re.findall(r"cov: (\d+)", output)
    told = f"{int(executed[-1]) if executed else 0:,} inputs, {time.monotonic() - started:.0f} s"
    print(f"atheris {reader}: {told}, coverage {covered[-1] if covered else '?'} edges", flush=True)
    if done.returncode == 0 and not broken:
        return True
    error = output.find("Uncaught Python exception")
    print(output[error:][:3000] if error >= 0 else output[-3000:])
    kept = ", ".join(str(keep(reader, content)) for content in broken) or "not known"
    print(f"atheris {reader}: FAILED with status {done.returncode}, the input is {kept}", flush=True)
    return False


def keep(reader: str, content: bytes) -> Path:
    """The file that a failing input was written to."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{reader}-{hashlib.sha256(content).hexdigest()[:8]}"
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
