"""Latent inversion: the latent whose image is nearest to a given one, within a budget of decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.contract.model import GenerativeModel, Observer
from bench.errors import NotFiniteError

OfEnd = Callable[[Tensor], Tensor]  # (n, C, H, W), an unclamped decode -> (n, C, H, W), a function's gradient there
PullBack = Callable[[Tensor, OfEnd], tuple[Tensor, Tensor]]  # see `InvertingModel.decode_and_pull_back`
MakeOptimizer = Callable[[list[Tensor]], Optimizer]  # it must update every latent by itself, as SGD and Adam do


class Inverted(NamedTuple):
    """The best of an inversion's iterates, for each image."""

    images: Tensor  # (n, C, H, W) in [-1, 1], their decodes
    latents: Tensor  # (n, ...)


def invert(
    decode_and_pull_back: PullBack,
    latents: Tensor,  # (n, ...), the starts: draws from the prior
    images: Tensor,  # (n, C, H, W) in [-1, 1], x
    *,
    budget: int,  # decodes an image; a decode and the gradient of its error count as one
    optimizer: MakeOptimizer,
    project: Callable[[Tensor], Tensor],  # keeps latents where the prior's draws lie
    seen: Tensor | None = None,  # bool, broadcast to (C, H, W): the pixels whose error counts; None: all
    observe: Observer | None = None,
) -> Inverted:
    """The best decode of each image among `budget` iterates of min_z ||x - M(z)||^2, and its latent.

    Nijkamp et al. 2019, arXiv 1904.09770, section 4.3. Raises ValueError for a budget under 1.
    """
    if budget < 1:
        raise ValueError(f"an inversion budget of {budget} decodes is too small: it must be at least 1")
    seen = torch.ones_like(images[:1], dtype=torch.bool) if seen is None else seen.to(images.device)
    share = seen.expand_as(images[:1]).double().mean().item()  # of the pixels
    z = latents.detach().clone()
    steps = optimizer([z])
    best, best_z = torch.empty_like(images), z.clone()
    least = torch.full((len(images),), torch.inf, device=images.device)
    for done in range(1, budget + 1):
        decoded, z.grad = decode_and_gradient(decode_and_pull_back, z, images, seen)
        error = ((decoded - images).square() * seen).flatten(1).mean(1) / share
        better = error < least
        for kept, new in ((best, decoded), (best_z, z), (least, error)):
            _keep(better, new, kept)
        if observe is not None:
            observe(done, least)
        steps.step()
        with torch.no_grad():
            z.copy_(project(z))
    if not torch.isfinite(least).all():
        raise NotFiniteError("latent inversion met nothing but decodes that are not finite")
    return Inverted(best, best_z)


def _keep(better: Tensor, new: Tensor, kept: Tensor) -> None:
    """Copy the rows of `new` where `better` (n,) is true into `kept`; an index by a mask would wait for the device."""
    kept.copy_(torch.where(better.view(-1, *[1] * (kept.ndim - 1)), new, kept))


def decode_and_gradient(
    decode_and_pull_back: PullBack, z: Tensor, images: Tensor, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """M(z) in [-1, 1], and d||x - M(z)||^2 / dz over the pixels that are `seen`.

    Where a pixel is clamped the gradient is taken as if it were not (straight through), or it could never return.
    """
    end, gradient = decode_and_pull_back(z, lambda end: 2 * (end.clamp(-1, 1) - images) * seen)
    return end.clamp(-1, 1), gradient


def pull_back(function: Callable[[Tensor], Tensor], z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
    """f(z) and v^T df/dz for v = of_end(f(z)), by reverse-mode differentiation of a function with its whole graph."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        end = function(z)
    found = end.detach()
    (gradient,) = torch.autograd.grad(end, z, of_end(found))
    return found, gradient


class InvertingModel(GenerativeModel):
    """A model whose latents of images can be found by inversion: it gives one primitive and an optimizer.

    It reconstructs by inversion unless it overrides `reconstruct`, `invert_latents` and `reconstructs_by_inversion`.
    Every latent that is found is where draws of its `prior` lie.
    """

    reconstructs_by_inversion = True

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        """M(z) (n, C, H, W), not clamped to [-1, 1], and v^T dM/dz (n, ...) for v = of_end(M(z)).

        `of_end` is called once, with M(z). Neither result carries a graph.
        """
        raise NotImplementedError

    def inversion_optimizer(self, latents: list[Tensor]) -> Optimizer:
        """What moves the latents; it must update each by itself, as SGD and Adam do."""
        raise NotImplementedError

    def invert(
        self,
        images: Tensor,  # (n, C, H, W) in [-1, 1]
        budget: int,
        generator: torch.Generator,
        observe: Observer | None = None,
        *,
        seen: Tensor | None = None,  # bool, broadcast to (C, H, W): the pixels that may be looked at; None: all
    ) -> Inverted:
        """The best of `budget` decodes for each image, from a draw of the prior."""
        return invert(
            self.decode_and_pull_back,
            self.sample_latents(len(images), generator),
            images,
            budget=budget,
            optimizer=self.inversion_optimizer,
            project=self.prior.project,
            seen=seen,
            observe=observe,
        )

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        return self.invert(images, budget, generator, observe).images

    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor | None:
        return self.invert(images, budget, generator).latents
