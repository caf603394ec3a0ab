"""Samples drawn by a cell on a Ray cluster, with the help of actors that have as many CPUs and GPUs as the cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.errors import one_line
from bench.machine import runtime, signals
from bench.sampling import packed
from bench.sampling.blocks import Block, Sampler, alone
from bench.sampling.shared import Lost, Untrained, shared


@dataclass(frozen=True)
class Actors:
    """`workers` processes of a Ray cluster, that of the cell's task among them.

    An actor takes part once the cluster has room for it; until then, and where it never has, the others draw alone.
    """

    workers: int = 1

    def opened(self, untrained: Untrained, model: GenerativeModel) -> contextlib.AbstractContextManager[Sampler]:
        """As `Workers.opened`, within a task of Ray's."""
        if self.workers == 1:
            return alone()
        import ray

        has = ray.get_runtime_context().get_assigned_resources()
        cpus, gpus = int(has.get("CPU", 1)), has.get("GPU", 0)
        actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Actor)
        content = cache(lambda: ray.put(packed.pack(untrained, model)))  # sent to each node once

        def start(number: int) -> _Asked:
            with signals.deferred():  # an exception would break Ray's own code
                return _Asked(actor.remote(content(), model.device.type, cpus))

        return shared(start, self.workers - 1)


class _Actor:
    """What runs on the node."""

    def __init__(self, content: packed.Packed, device: str, threads: int):
        runtime.configure(threads)
        self._drawer = packed.Drawer(content, device)

    def ready(self) -> None:
        """Return when the model is there."""

    def answer(self, block: Block) -> packed.Answer:
        return self._drawer.answer(block)


class _Asked:
    """An actor as a `Helper`."""

    def __init__(self, actor: Any):
        self._actor = actor

    def prepare(self) -> None:
        self._get(self._actor.ready)

    def draw(self, block: Block) -> Tensor | None:
        return packed.opened(self._get(self._actor.answer, block))

    def end(self) -> None:
        import ray

        with signals.deferred():
            ray.kill(self._actor)

    def _get(self, method: Any, *given: Block) -> Any:
        import ray

        try:
            return ray.get(method.remote(*given))
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise Lost(one_line(f"{type(error).__name__}: {lines[-1] if lines else ''}")) from None
