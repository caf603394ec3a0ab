"""The floor of a Langevin step: the net's bare convolutions, forward and backward to the input, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bare_convolutions(net: nn.Module, x: Tensor) -> Callable[[], None]:
    """A function that runs every convolution of `net` once forward and once backward to its input.

    Inputs and output gradients are of the shapes that a forward pass on `x` (n, C, H, W) gives, channels-last.
    """
    layers: list[tuple[nn.Conv2d, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, args, _: layers.append((layer, args[0].detach().clone())))
        for layer in net.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()

    calls = []
    for layer, value in layers:
        value = value.contiguous(memory_format=torch.channels_last)
        weight = layer.weight.detach().contiguous(memory_format=torch.channels_last)
        gradient = torch.ones_like(F.conv2d(value, weight, None, layer.stride, layer.padding))
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        calls.append((value, weight, gradient, layer.stride, layer.padding))

    @torch.no_grad()
    def run() -> None:
        for value, weight, gradient, stride, padding in calls:
            F.conv2d(value, weight, None, stride, padding)
            torch.ops.aten.convolution_backward(
                gradient, value, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )

    return run
