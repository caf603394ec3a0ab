"""The specification: the Langevin chain as plainly as it can be written; `ebm/langevin.py` has the fast one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def langevin_reference(
    energy: Callable[[Tensor], Tensor],  # images (n, C, H, W) -> energies (n,)
    x: Tensor,  # (n, C, H, W), the chain's start
    *,
    steps: int,  # K
    step_size: float,
    noise: Callable[[int], Tensor] | None = None,  # k -> eps_k (n, C, H, W) times its deviation; None: no noise
) -> Tensor:
    """K steps of x <- x - step_size * dE/dx + noise: the chain's end (n, C, H, W).

    Nijkamp et al. 2019, arXiv 1904.09770, equation 6 with f = -E.
    """
    for k in range(steps):
        x = x - step_size * energy_gradient(energy, x)
        if noise is not None:
            x = x + noise(k)
    return x


def energy_gradient(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """dE/dx (n, C, H, W) at `x` by autograd, whatever the caller's gradient mode."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x)
    return gradient
