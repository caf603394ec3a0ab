"""The short-run MCMC model: a K-step Langevin chain from uniform noise, taken as a generator.

The chain is a K-layer residual network with shared weights, x_{k+1} = x_k - step_size * E'(x_k) + noise; without the
noise it is a deterministic map M from latents to images (Nijkamp et al. 2019, arXiv 1904.09770, section 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.inversion import invert
from bench.model import GenerativeModel
from bench.priors import draw_uniform, mix_uniform
from ebm.energy import EnergyNet
from ebm.langevin import frozen, langevin


class ShortRunEBM(GenerativeModel):
    """An energy net and the short-run chain that samples it. A latent is the chain's start, an image-shaped draw."""

    reconstructs_by_inversion = True

    def __init__(
        self,
        energy: EnergyNet,
        image_shape: tuple[int, int, int],
        *,
        steps: int,  # K
        step_size: float,
        noise_std: float,
        inversion_rate: float,  # 1 moves a latent by the whole error of its decode
    ):
        super().__init__()
        self.energy = energy
        self.image_shape = image_shape
        self.steps, self.step_size, self.noise_std = steps, step_size, noise_std
        self.inversion_rate = inversion_rate
        self.evaluations_per_sample = steps

    def chain(self, z: Tensor, generator: torch.Generator | None = None, **options: object) -> Tensor:
        """The chain's end from `z`, not clamped: noisy with a generator, M(z) without one."""
        noise_std = self.noise_std if generator is not None else 0.0
        return langevin(
            self.energy,
            z,
            steps=self.steps,
            step_size=self.step_size,
            noise_std=noise_std,
            generator=generator,
            **options,
        )

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """Chain starts (n, C, H, W), uniform on [-1, 1)."""
        return draw_uniform(n, *self.image_shape, generator=generator)

    def decode(self, latents: Tensor) -> Tensor:
        """M(z): the noise-free chain's end, clamped to [-1, 1]."""
        return self.chain(latents).clamp(-1, 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The noisy chain's end, clamped to [-1, 1]."""
        return self.chain(self.sample_latents(n, generator), generator).clamp(-1, 1)

    def mix_latents(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return mix_uniform(a, b, t)

    def reconstruct(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        """Gradient descent on ||x - M(z)||^2 from a draw of the prior, the best of `budget` decodes."""

        def decode_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
            if self.energy.piecewise_linear:
                end = self.chain(z)  # E'' = 0 almost everywhere, so dM/dz = I
                return end.clamp(-1, 1), 2 * (end - images)
            end, gradient = pull_back(self, z, lambda end: 2 * (end - images))
            return end.clamp(-1, 1), gradient

        return invert(
            decode_and_gradient,
            self.sample_latents(len(images), generator),
            images,
            budget=budget,
            optimizer=lambda z: torch.optim.SGD(z, lr=self.inversion_rate / 2),
        )

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor:
        """The noisy chain at `frames` evenly spaced steps from 0 to K: (frames, n, C, H, W), clamped to [-1, 1]."""
        wanted = [round(i * self.steps / (frames - 1)) for i in range(frames)]
        seen: dict[int, Tensor] = {}

        def observe(k: int, x: Tensor, _: Tensor) -> None:
            if k in wanted:
                seen[k] = x.clone()

        seen[self.steps] = self.chain(self.sample_latents(n, generator), generator, observe=observe)
        return torch.stack([seen[k] for k in wanted]).clamp(-1, 1)


def pull_back(model: ShortRunEBM, z: Tensor, of_end: object) -> tuple[Tensor, Tensor]:
    """M(z) and v^T dM/dz for v = of_end(M(z)), by one Hessian-vector product a step: for smooth energies.

    v_k = v_{k+1} - step_size * E''(x_k) v_{k+1}. Only about sqrt(K) states of the chain are kept; the others are
    recomputed a segment at a time, so that memory grows with sqrt(K).
    """
    length = max(1, math.isqrt(model.steps))
    step = {"step_size": model.step_size, "noise_std": 0.0}
    starts, sizes, x = [], [], z.detach()
    for first in range(0, model.steps, length):
        starts.append(x)
        sizes.append(min(length, model.steps - first))
        x = langevin(model.energy, x, steps=sizes[-1], **step)
    v = of_end(x)
    with frozen(model.energy):
        for start, size in zip(reversed(starts), reversed(sizes), strict=True):
            states = [start]
            for _ in range(size - 1):
                states.append(langevin(model.energy, states[-1], steps=1, **step))
            for state in reversed(states):
                v = v - model.step_size * hessian_product(model, state, v)
    return x, v


def hessian_product(model: ShortRunEBM, x: Tensor, v: Tensor) -> Tensor:
    """E''(x) v (n, C, H, W), by differentiating the inner product of E'(x) and v."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.energy(x).sum(), x, create_graph=True)
        (product,) = torch.autograd.grad((gradient * v).sum(), x)
    return product
