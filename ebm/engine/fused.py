"""Steps between convolutions as one kernel each, on a GPU: which chains have them, and why others do not.

A kernel launched between two convolutions reads and writes whole activations, and those of these small nets take about
as long as their arithmetic: so bias and LeakyReLU are one pass, as are the update and its norms. The kernels are in
`ebm/engine/triton_kernels.py`, which is imported only where they run; elsewhere torch's operators do the same.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

VARIABLE = "BENCH_PLAIN_STEPS"  # set: torch's operators everywhere


class Kernels(Protocol):
    """Activations are float32 or bf16, computed with in float32 and rounded once; images, noise and norms float32.

    What ends in an underscore writes over its first tensor. All are channels-last (n, C, H, W).
    """

    def bias_leaky_(self, h: Tensor, bias: Tensor, leak: float) -> Tensor:
        """LeakyReLU(h + bias), for a bias (C,); the result lies in `h` if that is channels-last."""
        ...

    def leaky_backward_(self, output: Tensor, g: Tensor, skip: Tensor, leak: float) -> Tensor:
        """g times the slope at LeakyReLU's `output`, plus a quarter of the pixel of `skip` (n, C, H/2, W/2) above."""
        ...

    def update_(
        self, x: Tensor, gradient: Tensor, noise: Tensor | None, step_size: float, noise_std: float, norm: Tensor | None
    ) -> None:
        """As `ebm.langevin.update_`. The norms are sums in a fixed order: two runs give the same bits."""
        ...


def kernels(x: Tensor, wanted: bool = True) -> Kernels | None:
    """The kernels of a chain of images like `x`; None where torch's operators do the work."""
    if not (wanted and x.is_cuda and x.dtype == torch.float32) or hindrance(x.device):
        return None
    from ebm.engine import triton_kernels

    return triton_kernels


@cache
def hindrance(device: torch.device) -> str:
    """Why a GPU has no fused kernels; empty where they run. The first call compiles and runs each of them once."""
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} is set"
    try:
        from ebm.engine import triton_kernels
    except ImportError as error:
        return f"Triton is missing ({error})"
    try:
        triton_kernels.try_out(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no C compiler, a GPU too old for Triton, a cache that cannot be written: many types
        return " ".join(f"Triton failed ({type(error).__name__}: {error}".split())[:200] + ")"
    return ""


def described(device: torch.device, dtype: torch.dtype) -> str:
    """What a record says of chains of such images: "fused", or "plain" with the reason; empty on a CPU."""
    if device.type != "cuda":
        return ""
    reason = f"images are {dtype}" if dtype != torch.float32 else hindrance(device)
    return f"plain: {reason}" if reason else "fused"
