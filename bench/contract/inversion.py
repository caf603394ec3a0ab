"""Latent inversion: the latent whose image is nearest to a given one, within a budget of decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench.contract.model import GenerativeModel, Observer
from bench.errors import NotFiniteError


class Inverted(NamedTuple):
    """The best of an inversion's iterates, for each image."""

    images: Tensor  # (n, C, H, W), their decodes
    latents: Tensor  # (n, ...)


def invert(
    decode_and_gradient: Callable[[Tensor], tuple[Tensor, Tensor]],  # z -> (M(z) in [-1,1], d||x - M(z)||^2 / dz)
    latents: Tensor,  # (n, ...), the starts: draws from the prior
    images: Tensor,  # (n, C, H, W), x
    *,
    budget: int,  # decodes an image; a decode and the gradient of its error count as one
    optimizer: Callable[[list[Tensor]], Optimizer],  # must update every latent by itself, as SGD and Adam do
    project: Callable[[Tensor], Tensor] | None = None,  # keeps latents in the prior's support
    observe: Observer | None = None,
) -> Inverted:
    """The best decode of each image among `budget` iterates of min_z ||x - M(z)||^2, and its latent.

    Nijkamp et al. 2019, arXiv 1904.09770, section 4.3. Raises ValueError for a budget under 1.
    """
    if budget < 1:
        raise ValueError(f"an inversion budget of {budget} decodes is too small: it must be at least 1")
    z = latents.detach().clone()
    steps = optimizer([z])
    best, best_z = torch.empty_like(images), z.clone()
    least = torch.full((len(images),), torch.inf, device=images.device)
    for done in range(1, budget + 1):
        decoded, z.grad = decode_and_gradient(z)
        error = (decoded - images).square().flatten(1).mean(1)
        better = error < least
        for kept, new in ((best, decoded), (best_z, z), (least, error)):
            _keep(better, new, kept)
        if observe is not None:
            observe(done, least)
        steps.step()
        if project is not None:
            with torch.no_grad():
                z.copy_(project(z))
    if not torch.isfinite(least).all():
        raise NotFiniteError("latent inversion met nothing but decodes that are not finite")
    return Inverted(best, best_z)


def _keep(better: Tensor, new: Tensor, kept: Tensor) -> None:
    """Copy the rows of `new` where `better` (n,) is true into `kept`; an index by a mask would wait for the device."""
    kept.copy_(torch.where(better.view(-1, *[1] * (kept.ndim - 1)), new, kept))


class InvertingModel(GenerativeModel):
    """A model that finds latents of images by inversion; it defines `invert`, and has what follows from it."""

    reconstructs_by_inversion = True

    def invert(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Inverted:
        """The best of `budget` decodes for each of `images` (n, C, H, W) in [-1, 1], from a draw of the prior."""
        raise NotImplementedError

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        return self.invert(images, budget, generator, observe).images

    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        return self.invert(images, budget, generator).latents
