"""Peak memory of a function, exact: counted tensor by tensor on a CPU, by the allocator on a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.machine import gpu

OF = {"cpu": "tensors, counted as they are made", "cuda": "tensors and captured graphs on the GPU, by its allocator"}


class _Tracker(TorchDispatchMode):
    """Counts the storages that operators return for as long as anything holds them.

    A process's resident peak would hide them behind torch's own and would depend on what ran before. What a library
    allocates inside an operator is not seen.
    """

    def __init__(self):
        super().__init__()
        self.alive: dict[Any, tuple[Callable[[], bool], int]] = {}  # key -> (whether it is gone, bytes)
        self.peak = 0

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        given = {_key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for t in tree_leaves(result):
            if isinstance(t, Tensor) and (key := _key(t)) not in given:
                self.alive[key] = _holder(t)
        self.alive = {key: held for key, held in self.alive.items() if not held[0]()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def _key(t: Tensor) -> int:
    return id(t) if t.is_mkldnn else t.untyped_storage()._cdata


def _holder(t: Tensor) -> tuple[Callable[[], bool], int]:
    if t.is_mkldnn:  # the library's own layout, without a storage
        reference = weakref.ref(t)
        return (lambda: reference() is None), t.numel() * t.element_size()
    return StorageWeakRef(t.untyped_storage()).expired, t.untyped_storage().nbytes()


def peak_mib(function: Callable[[], Any], device: torch.device) -> float:
    """MiB that one call of `function` holds at its peak, above what is there before it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device) + gpu.captured_memory()
        function()  # graphs and workspaces are made once
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) + gpu.captured_memory() - before) / 2**20
    with _Tracker() as tracker:
        function()
    return tracker.peak / 2**20
