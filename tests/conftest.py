"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.machine import runtime


@pytest.fixture(scope="session", autouse=True)
def _process():
    """As the program runs: allocator tuned; the global random state seeded only to show that nothing uses it."""
    runtime.configure(threads=1)  # the nets are tiny, and other processes may want the cores


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test and no fixture reads or writes the user's cache; all of a session share one."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """No function of the project draws from torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "a test's code drew from the global random state"
