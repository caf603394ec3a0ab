"""The floor of a Langevin step: the net's bare convolutions, forward and backward to the input, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Recorded(NamedTuple):
    """One convolution as it reached the library."""

    input: Tensor  # (n, C, H, W)
    weight: Tensor  # (C', C, k, k)
    stride: list[int]
    padding: list[int]
    output: tuple[int, ...]  # its shape


class _Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found: list[Recorded] = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result = op(*args, **(kwargs or {}))
        if op is aten.convolution.default:
            x, weight, _, stride, padding, dilation, transposed, _, groups = args
            if transposed or groups != 1 or set(dilation) != {1}:
                raise NotImplementedError("only plain convolutions are replayed")
            self.found.append(Recorded(x.detach().clone(), weight.detach(), stride, padding, tuple(result.shape)))
        return result


@torch.no_grad()
def record(net: Callable[[Tensor], Any], x: Tensor) -> list[Recorded]:
    """Every convolution of a forward pass on `x` (n, C, H, W), whoever calls it: a module or a function."""
    with _Recorder() as recorder:
        net(x)
    return recorder.found


def gflop(convolutions: list[Recorded]) -> float:
    """1e9 operations of these convolutions, forward and backward to the input; a multiplication and an addition are 2.

    Counted as defined, products with padding included, whatever form computes them.
    """
    products = 0
    for c in convolutions:
        n, channels, rows, columns = c.output
        products += n * channels * rows * columns * c.weight[0].numel()
    return 2 * 2 * products / 1e9


def repeated(run: Callable[[], Any], times: int, device: torch.device) -> Callable[[], Any]:
    """A function that calls `run` so many times; on a GPU as one captured graph, as the engine's chain is."""
    if device.type != "cuda":
        return lambda: [run() for _ in range(times)]
    current, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        run()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            run()
    return graph.replay


def bare_convolutions(convolutions: list[Recorded]) -> Callable[[], None]:
    """A function that runs each of them once forward and once backward to its input, channels-last."""
    calls = []
    for c in convolutions:
        value = c.input.contiguous(memory_format=torch.channels_last)
        weight = c.weight.contiguous(memory_format=torch.channels_last)
        gradient = torch.ones(c.output, dtype=value.dtype, device=value.device)
        calls.append((value, weight, gradient.contiguous(memory_format=torch.channels_last), c.stride, c.padding))

    @torch.no_grad()
    def run() -> None:
        for value, weight, gradient, stride, padding in calls:
            F.conv2d(value, weight, None, stride, padding)
            aten.convolution_backward(
                gradient, value, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )

    return run
