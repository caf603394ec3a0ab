"""Imports point down: the picture of docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "architecture.md"
PACKAGES = ("bench", "ebm", "baselines")


def allowed() -> dict[str, set[str]]:
    """Room -> the rooms that its files may import, as the table of docs/architecture.md says."""
    rows = re.findall(r"^\| `([a-z/.]+)` \|[^|]*\| ([^|]*) \|$", PICTURE.read_text(encoding="utf-8"), re.MULTILINE)
    rooms = {name.rstrip("/").removesuffix(".py"): targets for name, targets in rows}
    assert len(rooms) > 15, "the table of rooms is missing"
    return {
        name: {target.rstrip("/").removesuffix(".py") for target in re.findall(r"`([a-z/.]+)`", targets)}
        for name, targets in rooms.items()
    }


ROOMS = allowed()


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            found["/".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """The innermost room that holds a module; the empty packages `bench` and above them are in none."""
    parts = module.split("/")
    return next((name for k in range(len(parts), 0, -1) if (name := "/".join(parts[:k])) in ROOMS), "")


def imports(path: Path) -> set[str]:
    """Every module of the project that the file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.replace(".", "/") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            base = node.module.replace(".", "/")
            below = {f"{base}/{alias.name}" for alias in node.names} & MODULES.keys()
            names |= below
            if len(below) < len(node.names):  # something that is no module itself
                names.add(base)
    return {name for name in names if name.split("/")[0] in PACKAGES}


def test_every_module_is_in_a_room():
    homeless = [name for name in MODULES if not room(name) and name != "bench"]
    assert not homeless, f"docs/architecture.md has no room for {homeless}"
    empty = [name for name in ROOMS if not any(room(module) == name for module in MODULES)]
    assert not empty, f"docs/architecture.md has rooms without a file: {empty}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    own = room(name)
    others = {room(module): module for module in imports(MODULES[name])}
    beyond = {there: module for there, module in others.items() if there not in (own, *ROOMS.get(own, ()))}
    assert not beyond, f"{name} imports {', '.join(beyond.values())}: docs/architecture.md has no such arrow"


def test_every_arrow_is_used():
    used: dict[str, set[str]] = {name: set() for name in ROOMS}
    for name, path in MODULES.items():
        if room(name):
            used[room(name)] |= {room(module) for module in imports(path)}
    unused = {name: sorted(targets - used[name]) for name, targets in ROOMS.items() if targets - used[name]}
    assert not unused, f"docs/architecture.md draws arrows that no import makes: {unused}"


def test_no_circle():
    order = list(ROOMS)  # from the bottom up
    for name, targets in ROOMS.items():
        above = [target for target in targets if order.index(target) >= order.index(name)]
        assert not above, f"{name} comes before {above} in docs/architecture.md, and imports it"


@pytest.mark.parametrize("upper", ["bench/report", "bench/data", "bench/features", "bench/metrics", "bench/grid"])
@pytest.mark.parametrize("family", ["ebm", "baselines"])
def test_a_model_knows_the_contract_alone(family, upper):
    """What the tests above would do to an import from a model: the picture itself must not allow it."""
    rooms = [name for name in ROOMS if name.split("/")[0] == family]
    reachable = {target for name in rooms for target in ROOMS[name]}
    assert not any(target == upper or target.startswith(f"{upper}/") for target in reachable)


@pytest.mark.parametrize(
    "module", ["bench.report", "bench.results.record", "bench.status", "bench.paper.build", "bench.contract.scores"]
)
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
