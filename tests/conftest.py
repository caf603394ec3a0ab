"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.machine import runtime


@pytest.fixture(scope="session", autouse=True)
def _process():
    """As the program runs: allocator tuned; the global random state seeded only to show that nothing uses it."""
    runtime.configure(threads=1)  # the nets are tiny, and other processes may want the cores


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache; all tests of a session share one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("BENCH_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """No function of the project draws from torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "a test's code drew from the global random state"
