"""dE/dx without autograd: the nets' forward and backward passes written out, prepared once and used K times.

Autograd gives the same numbers (`ebm/reference.py`); what goes is its graph, the head's forward pass, which the
gradient does not need, out-of-place activations, and the kernels' worst shapes (`ebm/engine/convolution.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebm.energy import LEAK, EnergyNet, ResidualBlock, pooled_kernel
from ebm.engine.convolution import Convolution, prepare
from ebm.engine.fused import Kernels
from ebm.reference import energy_gradient

aten = torch.ops.aten

Gradient = Callable[[Tensor], Tensor]  # images (n, C, H, W) -> dE/dx (n, C, H, W), channels-last


def input_gradient(energy: Callable[[Tensor], Tensor], dtype: torch.dtype, fused: Kernels | None = None) -> Gradient:
    """x -> dE/dx for the weights that `energy` has now: written out for an `EnergyNet`, by autograd for anything else.

    Activations and weights of an `EnergyNet` are rounded to `dtype`; a gradient has its image's type.
    """
    if isinstance(energy, EnergyNet):
        return NetGradient(energy, dtype, fused)

    def by_autograd(x: Tensor) -> Tensor:
        with frozen(energy):
            return energy_gradient(energy, x)

    return by_autograd


@contextlib.contextmanager
def frozen(energy: object) -> Iterator[None]:
    """The weights of `energy` (if it is a module) need no gradient inside, so none is computed for them."""
    parameters = [p for p in energy.parameters() if p.requires_grad] if isinstance(energy, nn.Module) else []
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


class Layer(Protocol):
    """A layer whose `backward` belongs to its latest `forward`, once: it may write over what that one returned."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, g: Tensor) -> Tensor: ...


class NetGradient:
    """The gradient of an `EnergyNet` with the weights it had when this was made."""

    @torch.no_grad()
    def __init__(self, net: EnergyNet, dtype: torch.dtype, fused: Kernels | None = None):
        self.dtype = dtype
        self.layers: list[Layer] = []
        side = net.side
        for module in net.features:
            if isinstance(module, nn.Conv2d):
                layer = convolution(module, dtype, side, fused)
                side = (side + 2 * module.padding[0] - module.kernel_size[0]) // module.stride[0] + 1
            elif isinstance(module, ResidualBlock):
                layer = BlockGradient(module, dtype, side, fused)
                side //= 2
            else:
                layer = activation(module, after=layer)
            self.layers.append(layer)
        # dE/dh of the last feature map (1, C, 4, 4), the same for every image
        self.top = -net.head.weight.detach().to(dtype, memory_format=torch.channels_last)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """dE/dx (n, C, H, W) in x's type."""
        h = x.to(self.dtype)
        for layer in self.layers:
            h = layer.forward(h)
        g = self.top.expand_as(h)
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g.to(x.dtype)


def convolution(module: nn.Conv2d, dtype: torch.dtype, side: int, fused: Kernels | None) -> Convolution:
    bias = None if module.bias is None else module.bias.detach().to(dtype)
    (stride, _), (padding, _) = module.stride, module.padding
    return prepare(module.weight.detach().to(dtype), bias, stride=stride, padding=padding, side=side, fused=fused)


def activation(module: nn.Module, *, after: Convolution | BlockGradient | None) -> Layer:
    """The layer of one of `ACTIVATIONS`; `after` is the layer before it, None where others read its output too."""
    if not isinstance(module, nn.LeakyReLU):
        return SmoothActivation(module)
    if after is not None and after.activate(LEAK):
        return LeakyReLU(lambda x, _: x)
    return LeakyReLU(F.leaky_relu if after is None else F.leaky_relu_)


class LeakyReLU:
    """The slope is read off the output's sign, and the gradient written in its place: `g` may be an expanded view."""

    def __init__(self, apply: Callable[[Tensor, float], Tensor]):
        self.apply = apply

    def forward(self, x: Tensor) -> Tensor:
        self.output = self.apply(x, LEAK)
        return self.output

    def backward(self, g: Tensor) -> Tensor:
        return aten.leaky_relu_backward.grad_input(g, self.output, LEAK, True, grad_input=self.output)


BACKWARD: dict[type[nn.Module], Callable[[Tensor, Tensor], Tensor]] = {
    nn.SiLU: aten.silu_backward,
    nn.Softplus: lambda g, x: aten.softplus_backward(g, x, 1.0, 20.0),  # torch's beta and threshold
    nn.GELU: aten.gelu_backward,
}


class SmoothActivation:
    """An activation whose derivative needs its input."""

    def __init__(self, module: nn.Module):
        self.module, self.derivative = module, BACKWARD[type(module)]

    def forward(self, x: Tensor) -> Tensor:
        self.input = x
        return self.module(x)

    def backward(self, g: Tensor) -> Tensor:
        return self.derivative(g, self.input)


class BlockGradient:
    """A `ResidualBlock`: g flows through the pooled 4x4 kernel and through the skip, and the two are added in place."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype, side: int, fused: Kernels | None):
        self.fused = fused if isinstance(block.first, nn.LeakyReLU) else None
        self.first = activation(block.first, after=None)
        self.conv1 = convolution(block.conv1, dtype, side, fused)
        self.second = activation(block.second, after=self.conv1)
        kernel, bias = pooled_kernel(block.conv2.weight).detach().to(dtype), block.conv2.bias.detach().to(dtype)
        self.conv2 = prepare(kernel, bias, stride=2, padding=1, side=side)
        self.skip = prepare(block.skip.weight.detach().to(dtype), None, stride=1, padding=0, side=side // 2)

    def activate(self, leak: float) -> bool:
        return False

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip.forward(F.avg_pool2d(x, 2))
        h = self.second.forward(self.conv1.forward(self.first.forward(x)))
        return self.conv2.forward(h).add_(skip)

    def backward(self, g: Tensor) -> Tensor:
        skip = self.skip.backward(g)
        made = self.conv1.backward(self.second.backward(self.conv2.backward(g)))
        if self.fused is not None:
            return self.fused.leaky_backward_(self.first.output, made, skip, LEAK)
        made = self.first.backward(made).contiguous(memory_format=torch.channels_last)
        # every pixel of a 2 x 2 square receives a quarter of the pooled gradient
        n, c, height, width = made.shape
        squares = made.permute(0, 2, 3, 1).view(n, height // 2, 2, width // 2, 2, c)
        squares.add_(skip.permute(0, 2, 3, 1)[:, :, None, :, None], alpha=0.25)
        return made
