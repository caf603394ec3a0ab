"""The Langevin sampler: one function that reads like the equation. `ebm/reference.py` is its plain specification."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contract.precision import check_precision, full_precision
from bench.contract.shares import Rows, cut
from ebm.energy import EnergyNet
from ebm.engine import fused
from ebm.engine.gradient import input_gradient
from ebm.engine.graphs import replayed

Energy = Callable[[Tensor], Tensor]  # images (n, C, H, W) -> energies (n,)


@dataclass(frozen=True)
class ChainSettings:
    """What decides a chain but for its start, its energy and its random numbers."""

    steps: int  # K
    step_size: float  # the factor of dE/dx; 1 in the paper
    noise_std: float  # standard deviation of the noise in a step; 0 gives the deterministic chain
    # of the convolutions, one of bench.contract.precision.PRECISIONS; state and noise keep the start's type
    precision: str = "float32"
    fused: bool = True  # on a GPU, what is between the convolutions as kernels of its own, where it can have them
    rows: Rows | None = None  # of a larger batch, whose noise is drawn whole, so that each chain has its own there


def langevin(
    energy: Energy,
    x: Tensor,  # (n, C, H, W), the chain's start
    settings: ChainSettings,
    *,
    generator: torch.Generator | None = None,  # needed when noise_std > 0; on x's device
    norms: Tensor | None = None,  # (K,): receives the mean of ||dE/dx|| over the batch at every step
    observe: Callable[[int, Tensor, Tensor], None] | None = None,  # (k, x_k, dE/dx at x_k), before step k
) -> Tensor:
    """K steps of x <- x - step_size * dE/dx + noise_std * eps, eps ~ N(0, I): the chain's end (n, C, H, W).

    Nijkamp et al. 2019, arXiv 1904.09770, equation 6 with f = -E. `step_size` and `noise_std` are independent; the
    textbook chain has noise_std = sqrt(2 * step_size). Nothing is clamped inside the chain. The result carries no
    gradient to `x` or to the energy's weights. On a GPU the chain is captured once and replayed, unless it is observed.
    Its precision is its own, whatever `bench.contract.precision.lowered` is in force.
    Raises ValueError: settings out of range, a start that is no batch of the energy's images, a generator that is
    missing or on another device.
    """
    check(energy, x, settings, generator)
    if not settings.noise_std:
        generator = None
    with torch.no_grad(), full_precision(x.device), convolution_precision(settings.precision):
        if x.is_cuda and observe is None:
            return replayed(run, energy, x, settings, generator, norms)
        return run(energy, x, settings, generator, norms, observe)


def run(
    energy: Energy,
    x: Tensor,
    settings: ChainSettings,
    generator: torch.Generator | None,
    norms: Tensor | None,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """The chain itself; nothing in it waits for a GPU."""
    kernels = fused.kernels(x, settings.fused)
    gradient_of = input_gradient(energy, torch.bfloat16 if settings.precision == "bf16" else x.dtype, kernels)
    update = update_ if kernels is None else kernels.update_
    x = x.detach().clone(memory_format=torch.channels_last)
    noise = own = None if generator is None else torch.empty_like(x)
    if noise is not None and (rows := settings.rows) is not None:
        shape = (rows.of, *x.shape[1:])
        noise = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        own = cut(noise, rows)
    for k in range(settings.steps):
        gradient = gradient_of(x)
        if observe is not None:
            observe(k, x, gradient)
        if noise is not None:
            draw_normal_(noise, generator)  # before the update, whose tensors then stay in the cache
        update(x, gradient, own, settings.step_size, settings.noise_std, None if norms is None else norms[k])
    return x


def update_(
    x: Tensor, gradient: Tensor, noise: Tensor | None, step_size: float, noise_std: float, norm: Tensor | None
) -> None:
    """x <- x - step_size * gradient + noise_std * noise, in place, for (n, C, H, W).

    `norm` () receives the mean of ||gradient|| over the batch.
    """
    if norm is not None:
        norm.copy_(gradient.permute(0, 2, 3, 1).flatten(1).norm(dim=1).mean())  # rows as they lie in memory
    x.sub_(gradient, alpha=step_size)
    if noise is not None:
        x.add_(noise, alpha=noise_std)


def draw_normal_(x: Tensor, generator: torch.Generator) -> Tensor:
    """Fill `x` (n, C, H, W), channels-last, with standard normal noise, in the order of its memory.

    `normal_` of a channels-last tensor itself goes element by element, fifteen times slower on a CPU.
    """
    x.permute(0, 2, 3, 1).normal_(generator=generator)
    return x


def check(energy: Energy, x: Tensor, settings: ChainSettings, generator: torch.Generator | None) -> None:
    """Raise ValueError for what `langevin` cannot run."""
    if settings.steps < 1:
        raise ValueError(f"steps={settings.steps} is out of range: a chain has at least 1 step")
    if not settings.step_size > 0 or not settings.noise_std >= 0:
        raise ValueError(
            f"step_size={settings.step_size}, noise_std={settings.noise_std}: a step size is above 0, "
            "a noise deviation 0 or more"
        )
    check_precision(settings.precision, x.device)
    expected = f"(n, {energy.channels}, {energy.side}, {energy.side})" if isinstance(energy, EnergyNet) else ""
    if x.ndim != 4 or (expected and x.shape[1:] != (energy.channels, energy.side, energy.side)):
        raise ValueError(f"the chain's start is {tuple(x.shape)}: it must be {expected or '(n, C, H, W)'}")
    if (rows := settings.rows) is not None and not 0 <= rows.first < rows.end == rows.first + len(x) <= rows.of:
        raise ValueError(f"a chain of {len(x)} images cannot be {rows}")
    if settings.noise_std and generator is None:
        raise ValueError(f"noise_std={settings.noise_std} needs a generator: pass one, or 0 for the noise-free chain")
    if settings.noise_std and generator.device.type != x.device.type:
        raise ValueError(f"the generator is on {generator.device} and the chain on {x.device}: make both on one device")


def sampling_dtype(precision: str, weights: str, device: torch.device) -> str:
    """What the convolutions of a chain compute in, as torch names it, for weights of the type `weights`."""
    if precision == "bf16":
        return "bfloat16"
    return "tf32" if precision == "tf32" and weights == "float32" and device.type == "cuda" else weights


@contextlib.contextmanager
def convolution_precision(precision: str) -> Iterator[None]:
    """TF32 convolutions inside where asked for, full float32 otherwise; the setting is the process's and put back."""
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
