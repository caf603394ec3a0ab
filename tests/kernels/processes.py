"""The parent's end of the peers' processes: requests and answers are JSON objects, one a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebm.energy import EnergyNet

WORKER = Path(__file__).parent / "peers.py"
FOLDERS = {"ebmkit": Path(sys.prefix) / "peers" / "ebmkit"}  # peers that cannot live beside this project
REST = 0.02  # seconds: idle threads of the other process keep spinning for some milliseconds after their work


class MissingPeerError(Exception):
    """The peer is not installed; no failure, since peers are optional."""


class Peer:
    """One peer in a process of its own, its C allocator untouched. MissingPeerError where it is not installed."""

    def __init__(self, name: str):
        self.name = name
        self._start()

    def _start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
        if self.name in FOLDERS:
            environment["PYTHONPATH"] = str(FOLDERS[self.name])
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        try:
            first = self._answer()
            if "missing" in first:
                raise MissingPeerError(f"{self.name} is not installed")
        except BaseException:
            self.close()
            raise
        self.version = first["version"]

    def load(self, net: EnergyNet, start: Tensor, folder: Path, **settings: Any) -> None:
        """Give it a plain net's weights, a start, and device, threads, step_size and noise_std."""
        layers = [(m.weight.detach().contiguous(), m.bias.detach()) for m in net.modules() if isinstance(m, nn.Conv2d)]
        torch.save((layers, start.contiguous()), folder / "peer.pt")
        self.loaded = {"path": str(folder / "peer.pt"), **settings}
        self.ask("load", **self.loaded)

    def seconds(self, steps: int) -> float:
        """Seconds of the second chain of a new process, by the peer's own clock; the processes take turns.

        How a process's memory happens to lie makes all its chains up to a fifth faster or slower.
        """
        self.close()
        self._start()
        self.ask("load", **self.loaded)
        self.ask("time", steps=steps)  # a first chain finds everything cold
        time.sleep(REST)
        seconds = self.ask("time", steps=steps)["seconds"]
        time.sleep(REST)
        return seconds

    def end(self, steps: int, folder: Path) -> Tensor:
        self.ask("end", path=str(folder / "end.pt"), steps=steps)
        return torch.load(folder / "end.pt", weights_only=True)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer. Raises RuntimeError when the peer fails or is gone."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"{self.name}'s process has ended") from None
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}'s process has ended")
        return json.loads(line)
