"""Imports point down: the picture of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# the command line's own files, which may import everything
TOP = {"bench.compare", "bench.evaluate", "bench.paper", "bench.grid", "bench.cell", "bench.attempts"}
TOP |= {"bench.registry", "bench.settings", "bench.commandline"}
MIDDLE = ("bench.training", "bench.evaluation", "bench.throughput")
PLUGINS = {"ebm", "baselines"}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("bench", "ebm", "baselines"):
        for path in (ROOT / package).rglob("*.py"):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> set[str]:
    """Every module of the project that the file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.split(".")[0] in {"bench", "ebm", "baselines"}}


MODULES = modules()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    used = imports(MODULES[name])
    package = name.split(".")[0]
    for other in PLUGINS - {package}:
        assert not any(u.split(".")[0] == other for u in used), f"{name} imports {other}"
    if package in PLUGINS:
        assert not upwards(used, TOP, MIDDLE), f"{name}, a model, imports the harness: {upwards(used, TOP, MIDDLE)}"
    elif not upwards({name}, TOP, ()):
        above = upwards(used, TOP, () if name.startswith(MIDDLE) else MIDDLE)
        assert not above, f"{name} imports upwards: {above}"


def upwards(used: set[str], top: set[str], middle: tuple[str, ...]) -> set[str]:
    """Which of the modules, or of their parts, belong to one of the upper layers."""
    names = {*top, *middle}
    return {one for one in used if any(one == name or one.startswith(f"{name}.") for name in names)}


def test_report_reads_records_only():
    allowed = ("bench.report", "bench.records", "bench.statistics", "bench.errors", "bench.status", "bench.locks")
    for name, path in MODULES.items():
        if name.startswith(allowed):
            assert all(u == "bench" or u.startswith(allowed) for u in imports(path)), name


@pytest.mark.parametrize("module", ["bench.report", "bench.records", "bench.status", "bench.paper.build"])
def test_rebuilding_needs_no_torch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_imports_no_torch():
    code = (
        "import sys\n"
        "from bench.compare import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "--datasets" in run.stdout
