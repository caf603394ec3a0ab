"""The chain as the paper's minimal script runs it, written afresh: a race's contestant and a kernel benchmark's peer.

It imports torch alone, so that a process in which another package is called `ebm` can import it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def published_chain(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    steps: int,
    *,
    step_size: float,
    noise_std: float,
    draw: Callable[[Tensor], Tensor] = torch.randn_like,
) -> Tensor:
    """The end of `steps` Langevin steps that climb f from x (n, C, H, W); call it with gradients enabled.

    The graph of each step is retained, the weights still ask for gradients, and every step draws a new noise tensor.
    Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1.
    """
    x = x.detach().clone().requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(f(x).sum(), [x], retain_graph=True)
        x.data += step_size * slope + noise_std * draw(x)
    return x.detach()
