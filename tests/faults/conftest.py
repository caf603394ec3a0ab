"""What the tests of faults share; what they measured stands at the end of their output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.processes import SMOKE, run

_LINES: list[str] = []


@pytest.fixture
def measured() -> Callable[[str], None]:
    """Called with a line for the summary."""
    return _LINES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _LINES:
        terminalreporter.section("measured")
        for line in _LINES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The smoke grid of three models, never interrupted."""
    out = tmp_path_factory.mktemp("reference")
    finished = run([*SMOKE, "--out", out])
    assert finished.returncode == 0, finished.stderr
    return out
