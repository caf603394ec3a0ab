"""CUDA graphs of whole chains: launching these small nets' kernels one by one takes longer than running them.

A chain is captured once for its energy, settings and shape, and replayed with new starts, random numbers and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 2  # before the capture, for the libraries' choice of kernels and their workspaces; all steps are alike
KEPT = 16  # graphs per energy, twice what an evaluation needs; the one not used for the longest time goes first
REGISTERS = torch.__version__ < (2, 14)  # from then on a capture finds its generators itself

Run = Callable[[Any, Tensor, Any, torch.Generator | None, Tensor | None], Tensor]  # as `ebm.langevin.run`

_graphs: WeakKeyDictionary[nn.Module, dict[tuple, ChainGraph]] = WeakKeyDictionary()


def replayed(
    run: Run, energy: Any, x: Tensor, settings: Any, generator: torch.Generator | None, norms: Tensor | None
) -> Tensor:
    """`run(energy, x, settings, generator, norms)` by replaying its graph, captured on first use."""
    if not isinstance(energy, nn.Module) or torch.cuda.is_current_stream_capturing():
        return run(energy, x, settings, generator, norms)
    key = graph_key(energy, x, settings, noisy=generator is not None)
    graphs = _graphs.setdefault(energy, {})
    if key in graphs:
        graphs[key] = graphs.pop(key)  # the latest used is the last
    else:
        while len(graphs) >= KEPT:
            graphs.pop(next(iter(graphs)))
        # one memory pool for an energy: nothing of a replay outlives it but its end, which is copied at once
        pool = next(iter(graphs.values())).graph.pool() if graphs else None
        graphs[key] = ChainGraph(run, energy, x, settings, noisy=generator is not None, pool=pool)
    return graphs[key].replay(x, generator, norms)


def graph_key(energy: nn.Module, x: Tensor, settings: Any, *, noisy: bool) -> tuple:
    """All that a captured chain has frozen: shape, type, device, settings, and where the weights lie in memory."""
    weights = tuple((p.data_ptr(), tuple(p.shape), p.dtype) for p in energy.parameters())
    return tuple(x.shape), x.dtype, x.device, settings, noisy, weights


class ChainGraph:
    """One captured chain. The weights are read anew at each replay, since their preparation is part of the graph."""

    def __init__(self, run: Run, energy: nn.Module, x: Tensor, settings: Any, *, noisy: bool, pool: Any = None):
        self.start = x.detach().clone(memory_format=torch.channels_last)
        self.norms = torch.zeros(settings.steps, device=x.device)
        # the graph's own generator: at each replay it takes over the caller's state and hands it back
        self.generator = torch.Generator(x.device) if noisy else None

        def chain(settings: Any) -> Tensor:
            return run(energy, self.start, settings, self.generator, self.norms)

        current, side = torch.cuda.current_stream(x.device), torch.cuda.Stream(x.device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            chain(replace(settings, steps=min(WARM_UP_STEPS, settings.steps)))
        current.wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        if self.generator is not None and REGISTERS:
            self.graph.register_generator_state(self.generator)
        # the outer block: a capture that fails, for want of memory, leaves its own stream the current one
        with torch.cuda.stream(current), torch.cuda.graph(self.graph, pool=pool):
            self.end = chain(settings)

    def replay(self, x: Tensor, generator: torch.Generator | None, norms: Tensor | None) -> Tensor:
        """The chain's end from `x`, a tensor of its own; `generator` moves on as if it had drawn the noise itself."""
        self.start.copy_(x)
        if self.generator is not None:
            self.generator.set_state(generator.get_state())
        self.graph.replay()
        if self.generator is not None:
            generator.set_state(self.generator.get_state())
        if norms is not None:
            norms.copy_(self.norms)
        return self.end.clone(memory_format=torch.channels_last)
