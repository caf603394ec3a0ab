"""The Langevin sampler: one function that reads like the equation, and what makes its steps cheap."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

Energy = Callable[[Tensor], Tensor]  # images (n, C, H, W) -> energies (n,)


def langevin(
    energy: Energy,
    x: Tensor,  # (n, C, H, W), the chain's start
    *,
    steps: int,  # K
    step_size: float,  # the factor of dE/dx; 1 in the paper
    noise_std: float,  # standard deviation of the noise in a step; 0 gives the deterministic chain
    generator: torch.Generator | None = None,  # needed when noise_std > 0; on x's device
    observe: Callable[[int, Tensor, Tensor], None] | None = None,  # (k, x_k, dE/dx at x_k), before step k
) -> Tensor:
    """K steps of x <- x - step_size * dE/dx + noise_std * eps, eps ~ N(0, I): the chain's end (n, C, H, W).

    Nijkamp et al. 2019, arXiv 1904.09770, equation 6 with f = -E. `step_size` and `noise_std` are independent; the
    textbook chain has noise_std = sqrt(2 * step_size). Nothing is clamped inside the chain. The result carries no
    gradient to `x` or to the energy's weights, and the caller's gradient mode is left as it was.
    """
    x = x.detach().clone(memory_format=torch.channels_last)
    with frozen(energy):
        for k in range(steps):
            gradient = energy_gradient(energy, x)
            if observe is not None:
                observe(k, x, gradient)
            x = x - step_size * gradient
            if noise_std:
                x = x.add_(gaussian_like(x, generator), alpha=noise_std)
    return x


def energy_gradient(energy: Energy, x: Tensor) -> Tensor:
    """dE/dx (n, C, H, W) at `x`, whatever the caller's gradient mode."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x)
    return gradient


def gaussian_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise (n, C, H, W), drawn in one contiguous block and viewed as channels-last.

    `randn_like` of a channels-last tensor fills it element by element, fifteen times slower on a CPU.
    """
    n, c, h, w = x.shape
    block = torch.empty(n, h, w, c, dtype=x.dtype, device=x.device)
    return block.normal_(generator=generator).permute(0, 3, 1, 2)


@contextlib.contextmanager
def frozen(energy: Energy) -> Iterator[None]:
    """The weights of `energy` (if it is a module) need no gradient inside, so none is computed for them."""
    parameters = [p for p in energy.parameters() if p.requires_grad] if isinstance(energy, nn.Module) else []
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
