"""The short-run MCMC model: a K-step Langevin chain from uniform noise, taken as a generator.

The chain is a K-layer residual network with shared weights, x_{k+1} = x_k - step_size * E'(x_k) + noise; without the
noise it is a deterministic map M from latents to images (Nijkamp et al. 2019, arXiv 1904.09770, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from bench.contract.inversion import InvertingModel, OfEnd
from bench.contract.priors import UNIFORM
from bench.contract.scores import Diagnostics
from bench.contract.shares import Rows
from bench.errors import NotFiniteError
from ebm.diagnostics import (
    LONG_CHAINS,
    STEP,
    chain_curves,
    gradient_norm,
    long_curves,
    mismatch_score,
    residual_curves,
)
from ebm.energy import EnergyNet
from ebm.engine import fused
from ebm.engine.gradient import frozen
from ebm.langevin import ChainSettings, langevin, sampling_dtype


class ShortRunEBM(InvertingModel):
    """An energy net and the short-run chain that samples it. A latent is the chain's start, an image-shaped draw."""

    prior = UNIFORM
    step_name = STEP
    ood_score_name = "energy"

    def __init__(
        self,
        energy: EnergyNet,
        image_shape: tuple[int, int, int],
        settings: ChainSettings,
        *,
        inversion_rate: float = 1.0,  # 1 moves a latent by the whole error of its decode
    ):
        super().__init__()
        self.energy = energy
        self.image_shape = self.latent_shape = image_shape
        self.settings = settings
        self.inversion_rate = inversion_rate
        self.evaluations_per_sample = settings.steps

    @property
    def sampling_dtype(self) -> str:
        return sampling_dtype(self.settings.precision, super().sampling_dtype, self.device)

    @property
    def sampler_kernels(self) -> str:
        return fused.described(self.device, next(self.parameters()).dtype)

    def chain(
        self,
        z: Tensor,
        generator: torch.Generator | None = None,
        *,
        norms: Tensor | None = None,
        observe: Callable[[int, Tensor, Tensor], None] | None = None,
        checked: bool = True,  # False: nothing waits for the device, and who called must look at the end
        rows: Rows | None = None,  # those of `z` in a larger batch; see `ChainSettings`
    ) -> Tensor:
        """The chain's end from `z`, not clamped: noisy with a generator, M(z) without one. See `langevin`.

        Raises NotFiniteError, naming the step, when the chain leaves the finite numbers.
        """
        settings = replace(self.settings, rows=rows)
        if generator is None:
            settings = replace(settings, noise_std=0.0)
        norms = torch.empty(settings.steps, device=z.device) if norms is None else norms
        end = langevin(self.energy, z, settings, generator=generator, norms=norms, observe=observe)
        if checked and not torch.isfinite(end).all():
            raise not_finite(norms)
        return end

    def decode(self, latents: Tensor) -> Tensor:
        """M(z): the noise-free chain's end, clamped to [-1, 1]."""
        return self.chain(latents).clamp(-1, 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The noisy chain's end, clamped to [-1, 1]."""
        return self.chain(self.sample_latents(n, generator), generator).clamp(-1, 1)

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        """The noise-free chain's end and its pulled-back gradient: one chain for a piecewise-linear energy."""
        if not self.energy.piecewise_linear:
            return pull_back(self, z, of_end)
        end = self.chain(z)
        return end, of_end(end)  # E'' = 0 almost everywhere, so dM/dz = I

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        """Gradient descent: where dM/dz = I, a latent moves by `inversion_rate` times the error of its decode."""
        return torch.optim.SGD(latents, lr=self.inversion_rate / 2)

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor:
        """The noisy chain at `frames` evenly spaced steps from 0 to K: (frames, n, C, H, W), clamped to [-1, 1]."""
        wanted = [round(i * self.settings.steps / (frames - 1)) for i in range(frames)]
        seen: dict[int, Tensor] = {}

        def observe(k: int, x: Tensor, _: Tensor) -> None:
            if k in wanted:
                seen[k] = x.clone()

        seen[self.settings.steps] = self.chain(self.sample_latents(n, generator), generator, observe=observe)
        return torch.stack([seen[k] for k in wanted]).clamp(-1, 1)

    @torch.no_grad()
    def ood_score(self, images: Tensor) -> Tensor:
        """The energy E (n,)."""
        return self.energy(images)

    def at_compute(self, factor: float) -> ShortRunEBM:
        """The same energy with max(1, round(factor K)) steps."""
        steps = max(1, round(factor * self.settings.steps))
        settings = replace(self.settings, steps=steps)
        return ShortRunEBM(self.energy, self.image_shape, settings, inversion_rate=self.inversion_rate)

    def diagnose(
        self, n: int, generator: torch.Generator, *, train: Tensor, samples: Callable[[], Tensor], far: bool
    ) -> Diagnostics:
        """Gradient norm and energy along noisy chains of 10 K steps, the chain as a residual network layer by layer,
        and the moment mismatch: how far apart the mean dE/dtheta is over images and over samples, which learning
        drives to zero. With `far`, the first two along a few chains of 100 K steps as well.
        """
        norms, energies = chain_curves(self.energy, self.sample_latents(n, generator), self.settings, generator)
        layers = residual_curves(self.energy, self.sample_latents(n, generator), self.settings, generator)
        scores = [] if norms is None else [gradient_norm(norms, n)]
        if len(train) >= 2:
            scores.append(mismatch_score(self.energy, train, samples()))
        beyond = []
        if far:
            start = self.sample_latents(LONG_CHAINS, generator)
            beyond = long_curves(self.energy, start, self.settings, generator)
        return Diagnostics(tuple(scores), tuple(one for one in (norms, energies, *layers, *beyond) if one))


def not_finite(norms: Tensor) -> NotFiniteError:
    """The error of a chain whose end is not finite; `norms` (K,) are its gradients'."""
    return NotFiniteError(f"the Langevin chain is not finite from step {first_failure(norms)} of {len(norms)} on")


def first_failure(norms: Tensor) -> int:
    """The step, counted from 1, at which a chain of gradient norms (K,) left the finite numbers; K if none shows it."""
    bad = (~torch.isfinite(norms)).nonzero()
    return int(bad[0]) + 1 if len(bad) else len(norms)


def pull_back(model: ShortRunEBM, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
    """M(z) and v^T dM/dz for v = of_end(M(z)), by one Hessian-vector product a step: for smooth energies.

    v_k = v_{k+1} - step_size * E''(x_k) v_{k+1}. Only about sqrt(K) states of the chain are kept; the others are
    recomputed a segment at a time, so that memory grows with sqrt(K).
    """
    steps, noise_free = model.settings.steps, replace(model.settings, noise_std=0.0)
    length = max(1, math.isqrt(steps))
    starts, sizes, x = [], [], z.detach()
    for first in range(0, steps, length):
        starts.append(x)
        sizes.append(min(length, steps - first))
        x = langevin(model.energy, x, replace(noise_free, steps=sizes[-1]))
    v = of_end(x)
    with frozen(model.energy):
        for start, size in zip(reversed(starts), reversed(sizes), strict=True):
            states = [start]
            for _ in range(size - 1):
                states.append(langevin(model.energy, states[-1], replace(noise_free, steps=1)))
            for state in reversed(states):
                v = v - model.settings.step_size * hessian_product(model, state, v)
    return x, v


def hessian_product(model: ShortRunEBM, x: Tensor, v: Tensor) -> Tensor:
    """E''(x) v (n, C, H, W), by differentiating the inner product of E'(x) and v."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.energy(x).sum(), x, create_graph=True)
        (product,) = torch.autograd.grad((gradient * v).sum(), x)
    return product
