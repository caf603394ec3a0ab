"""Threads of the kernels' session, and what of the machine is written down."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.measure import THREADS


@pytest.fixture(autouse=True)
def _all_cores():
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(threads)


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.pop("node", None)  # a host's name says nothing of its speed
