"""Processes as torchrun starts them, forked from a server that has imported torch already.

As a program, `torchrun -m tests.ranks ARGUMENTS`, it is `bench.compare ARGUMENTS` without tables and plots.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.faults.processes import PATIENCE, fork

# `tests.faults.processes` has told the server what to import
_server = multiprocessing.get_context("forkserver")


def environments(n: int) -> list[dict[str, str]]:
    """What torchrun tells each of `n` ranks on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    return [meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(n)]


def run(n: int, target: Callable[..., None], *arguments: Any) -> None:
    """`target(*arguments)` by `n` ranks, all of which end well; by a process that is no rank for n = 1."""
    given = environments(n) if n > 1 else [{}]
    processes = [_server.Process(target=_child, args=(one, target, arguments)) for one in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * n


def _child(environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    target(*arguments)


class Together:
    """`bench.compare ARGUMENTS` by two ranks; each has a log of its own in `folder`."""

    def __init__(self, arguments: list[str], folder: Path, monkeypatch: Any):
        self.logs = [folder / f"rank-{rank}.log" for rank in range(2)]
        self.ranks: list[BaseProcess] = []
        for environment, log in zip(environments(2), self.logs, strict=True):
            log.unlink(missing_ok=True)
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                self.ranks.append(fork(arguments, log, report=False))

    def end(self) -> tuple[list[int | None], list[str]]:
        """The exit statuses and what the ranks have said."""
        for rank in self.ranks:
            rank.join(PATIENCE)
        return [rank.exitcode for rank in self.ranks], [log.read_text() for log in self.logs]


if __name__ == "__main__":
    importlib.import_module("bench.report").build = lambda out: (out / "table.md").touch()
    sys.exit(importlib.import_module("bench.compare").main())
