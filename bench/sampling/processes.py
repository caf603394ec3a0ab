"""Samples drawn by several processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from dataclasses import dataclass
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.errors import one_line
from bench.machine import gpu, runtime, signals
from bench.sampling import packed
from bench.sampling.blocks import Block, Sampler, alone
from bench.sampling.shared import Lost, Untrained, shared

READY = "ready"
PATIENCE = 10.0  # seconds for a process that has closed its pipe to be gone


@dataclass(frozen=True)
class Processes:
    """`workers` processes of this machine, this one among them. On GPUs each sees one, in turn."""

    workers: int = 1

    def opened(self, untrained: Untrained, model: GenerativeModel) -> contextlib.AbstractContextManager[Sampler]:
        """As `Workers.opened`."""
        if self.workers == 1:
            return alone()
        content = cache(lambda: packed.pack(untrained, model))
        devices = gpu.visible() if model.device.type == "cuda" else []

        def start(number: int) -> _Process:
            device = devices[(number + 1) % len(devices)] if devices else None  # this process has the first one
            return _Process(content(), model.device.type, device)

        return shared(start, self.workers - 1)


ALONE = Processes(1)


class _Process:
    """A process that draws blocks."""

    def __init__(self, content: packed.Packed, device: str, visible: str | None):
        """Start it; `visible` is the only GPU that it sees, None for no difference from this process."""
        self._content: packed.Packed | None = content
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads hold
        self._pipe, own = context.Pipe()
        arguments = (own, device, visible, torch.get_num_threads())
        self._process = context.Process(target=_main, args=arguments, daemon=True)
        if os.name == "posix":
            resource_tracker.ensure_running()  # here, as its start lets all signals through
        try:
            with signals.held_back():
                self._process.start()
        except OSError as error:
            raise Lost(f"it cannot be started: {error.strerror or error}") from None
        finally:
            own.close()

    def prepare(self) -> None:
        """Give it the model and wait until it is built. Raises Lost."""
        try:
            self._pipe.send(self._content)
            self._content = None
            kind, why = self._pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if kind != READY:
            raise Lost(why)

    def draw(self, block: Block) -> Tensor | None:
        try:
            self._pipe.send(block)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        return packed.opened(answer)

    def end(self) -> None:
        self._process.kill()
        self._process.join()

    def _lost(self) -> Lost:
        self._process.join(PATIENCE)
        status = self._process.exitcode or 0
        return Lost(f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")


def _main(pipe: Connection, device: str, visible: str | None, threads: int) -> None:
    """Draw what is asked for until the pipe is closed."""
    signals.apart(lambda: os._exit(1))  # without the parent there is nothing to save
    for number in signals.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signals.let_through()
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible  # read when CUDA is first used
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # the parent speaks for the model
        try:
            runtime.configure(threads)
            drawer = packed.Drawer(pipe.recv(), device)
        except Exception as error:  # a model's own code fails in any way
            pipe.send((packed.FAILED, one_line(f"{type(error).__name__}: {error}")))
            return
        pipe.send((READY, ""))
        with contextlib.suppress(EOFError, OSError):
            while True:
                pipe.send(drawer.answer(pipe.recv()))
