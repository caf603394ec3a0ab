"""What the engines cost and gain: `python -m tests.scale [overhead] [speedup] [--out FOLDER]`; JSON and a table.

`overhead`: the milliseconds that a cell takes whose model does nothing, in this process, with two jobs, and on Ray if
it is installed. `speedup`: the same cells of a real model by one worker with one thread and by two, in turns.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import runtime
from bench.storage.files import write_json, write_text
from tests.scale import table
from tests.scale.timed import Grid

ROOT = Path(__file__).parent.parent.parent
PARTS = ("overhead", "speedup")
ENGINES = {"local": ("local", 1), "jobs": ("local", 2), "ray": ("ray", 1)}  # name -> engine, jobs
KINDS = {  # model -> what its cells are called
    "Empty": "cells that do nothing",
    "Smallest": "cells with one empty update and the smallest evaluation",
}
FEWER = 10  # cells that are evaluated are so many times fewer


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tests.scale", description="Measure the engines (docs/scale.md).")
    p.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: both)")
    p.add_argument("--cells", type=int, default=1000, metavar="N", help="that do nothing (default: 1000)")
    p.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="of the overhead (default: all)"
    )
    p.add_argument("--real-cells", type=int, default=8, metavar="N", help="of the speed-up (default: 8)")
    p.add_argument("--updates", type=int, default=1500, metavar="N", help="of each real cell (default: 1500)")
    p.add_argument("--repeats", type=int, default=3, metavar="N", help="of every run (default: 3)")
    p.add_argument("--out", type=Path, default=ROOT / "results" / "scale", help="folder (default: results/scale)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    parts = arguments.parts or PARTS
    if unknown := [name for name in parts if name not in PARTS]:
        parser().error(f"unknown part {unknown[0]!r}: choose one of {', '.join(PARTS)}")
    file = arguments.out / "scale.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}  # a part may be run apart
    for part in parts:
        found |= {"machine": machine(), part: globals()[part](arguments)}
        write_json(file, found)
        write_text(arguments.out / "table.md", table.render(found))
    print(table.render(found))
    return 0


def machine() -> dict[str, Any]:
    """Where and when it was measured, and with what."""
    versions = {name: runtime.versions().get(name) for name in ("torch",)}
    try:
        versions["ray"] = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        versions["ray"] = None
    return {
        "device": runtime.device_name("cpu"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "datetime": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def overhead(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Each engine with cells that do nothing, and with a tenth as many that are evaluated; the engines take turns."""
    engines = [name for name in arguments.engines if name != "ray" or machine()["ray"]]
    rows = []
    for model, kind in KINDS.items():
        cells = arguments.cells if model == "Empty" else max(3, arguments.cells // FEWER)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
        for repeat in range(arguments.repeats):
            for name in engines:
                engine, jobs = ENGINES[name]
                once = repeat == 0 and name == "local"
                wanted = Grid(f"tests.scale.nothing:{model}", cells, engine, jobs, smallest=True, tables=once)
                runs[name].append(measured(wanted))
        rows += [
            {"model": model, "kind": kind, "cells": cells, "engine": described(name), "runs": runs[name]}
            for name in engines
        ]
    return rows


def speedup(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same grid with `--jobs 1 --threads 1` and `--jobs 2 --threads 2`, in turns."""
    settings = {"updates": arguments.updates}
    found: dict[str, Any] = {"model": "ebm", "cells": arguments.real_cells, **settings, "one": [], "two": []}
    for _ in range(arguments.repeats):
        for name, jobs in (("one", 1), ("two", 2)):
            found[name].append(measured(Grid("ebm", arguments.real_cells, jobs=jobs, settings=settings)))
    return found


def measured(wanted: Grid) -> dict[str, float]:
    """What `tests.scale.timed` prints of a grid; one thread for whatever is not told otherwise."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    command = [sys.executable, "-m", "tests.scale.timed", json.dumps(asdict(wanted))]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{wanted}: {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def described(name: str) -> str:
    engine, jobs = ENGINES[name]
    return "`--engine ray`, one CPU a cell" if engine == "ray" else f"`--jobs {jobs}`, one thread a cell"


if __name__ == "__main__":
    sys.exit(main())
