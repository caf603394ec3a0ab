"""Graphs of the pretended CUDA device: what a capture records, and its replay."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from ebm.engine import graphs


def _storages(value: Any) -> set[int]:
    return {t.untyped_storage()._cdata for t in tree_leaves(value) if isinstance(t, torch.Tensor)}


class Recording:
    """The operators of a capture. They are run once to learn shapes; `undo` takes back all that this has changed."""

    def __init__(self, registered: list[torch.Generator]):
        self.calls: list[tuple[Any, tuple, dict[str, Any], Any]] = []
        self.registered = registered
        self.own: dict[int, torch.Tensor] = {}  # storage -> a tensor that the capture made
        self.before: list[tuple[torch.Tensor, torch.Tensor]] = []  # written to, and what was in it
        self.states: dict[int, tuple[torch.Generator, torch.Tensor]] = {}

    def record(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The operator's result, for its shape alone."""
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Generator):
                if graphs.REGISTERS and value._cdata not in {one._cdata for one in self.registered}:
                    raise AssertionError("this version of torch needs a capture's generators to be registered")
                self.states.setdefault(value._cdata, (value, value.get_state()))
        given = _storages((args, kwargs))
        for index, argument in enumerate(func._schema.arguments):
            value = args[index] if index < len(args) else kwargs.get(argument.name)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, torch.Tensor) and value.untyped_storage()._cdata not in self.own:
                self.before.append((value, value.clone()))
        result = func(*args, **kwargs)
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor) and t.untyped_storage()._cdata not in given:
                self.own[t.untyped_storage()._cdata] = t
        self.calls.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """As on a GPU nothing has been computed: what was there is as before, and what was made holds nothing."""
        with _disable_current_modes(), torch.no_grad():
            for t, content in reversed(self.before):
                t.copy_(content)
            for t in self.own.values():
                if t.is_floating_point():
                    t.fill_(torch.nan)
        for generator, state in self.states.values():
            generator.set_state(state)

    def replay(self) -> None:
        with _disable_current_modes(), torch.no_grad():
            for func, args, kwargs, result in self.calls:
                for kept, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(kept, torch.Tensor) and kept.data_ptr() != new.data_ptr():
                        kept.copy_(new)


class Graph:
    """`torch.cuda.CUDAGraph`."""

    alive: ClassVar[weakref.WeakSet[Graph]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []
        self.recording: Recording | None = None
        Graph.alive.add(self)

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def pool(self) -> tuple[int, int]:
        return 0, 1

    def replay(self) -> None:
        self.recording.replay()

    @classmethod
    def segments(cls) -> list[dict[str, Any]]:
        """`torch.cuda.memory_snapshot`, of the graphs' memory alone."""
        sizes = [sum(t.untyped_storage().nbytes() for t in g.recording.own.values()) for g in cls.alive if g.recording]
        ordinary = {"segment_pool_id": (0, 0), "total_size": 2**40, "allocated_size": 0}
        return [ordinary, *({"segment_pool_id": (0, 1), "total_size": n, "allocated_size": 0} for n in sizes)]
