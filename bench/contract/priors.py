"""Latent priors, each in one place: draws, paths between two draws, and what keeps a moved latent among them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHELL = 3 / math.sqrt(2)  # three standard deviations of a standard normal draw's norm, in many dimensions
_EDGE = 1 - 1e-6  # the normal quantile function is infinite at the ends of the uniform's range


class Prior:
    """A distribution of latents (n, ...), independent in every entry, as a function of standard normal draws."""

    def draw(self, *shape: int, generator: torch.Generator) -> Tensor:
        """A draw of this shape on the generator's device."""
        raise NotImplementedError

    def mix(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """The point at `t` in [0, 1] on a path from `a` to `b` that stays on the prior."""
        raise NotImplementedError

    def project(self, latents: Tensor) -> Tensor:
        """Latents (n, ...) moved to the nearest place where the prior's draws lie."""
        raise NotImplementedError

    def of_normal(self, normal: Tensor) -> Tensor:
        """The draw of this prior that a standard normal draw of the same shape stands for, entry by entry."""
        raise NotImplementedError

    def to_normal(self, latents: Tensor) -> Tensor:
        """The inverse of `of_normal`."""
        raise NotImplementedError

    def slope(self, normal: Tensor) -> Tensor:
        """The derivative of `of_normal` in every entry."""
        raise NotImplementedError


class Uniform(Prior):
    """Uniform on [-1, 1). Paths run through the normal quantile function and back."""

    def draw(self, *shape: int, generator: torch.Generator) -> Tensor:
        return draw_uniform(*shape, generator=generator)

    def mix(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return mix_uniform(a, b, t)

    def project(self, latents: Tensor) -> Tensor:
        """Clamped to the support, [-1, 1]."""
        return latents.clamp(-1, 1)

    def of_normal(self, normal: Tensor) -> Tensor:
        return torch.special.ndtr(normal).mul(2).sub(1)

    def to_normal(self, latents: Tensor) -> Tensor:
        """Latents outside of the support, or at its ends, count as just inside it."""
        return torch.special.ndtri(latents.clamp(-_EDGE, _EDGE).add(1).div(2))

    def slope(self, normal: Tensor) -> Tensor:
        """Twice the standard normal density."""
        return normal.square().div(-2).exp().mul(math.sqrt(2 / math.pi))


class Normal(Prior):
    """Standard normal."""

    def draw(self, *shape: int, generator: torch.Generator) -> Tensor:
        return draw_normal(*shape, generator=generator)

    def mix(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return mix_normal(a, b, t)

    def project(self, latents: Tensor) -> Tensor:
        return to_shell(latents)

    def of_normal(self, normal: Tensor) -> Tensor:
        return normal

    def to_normal(self, latents: Tensor) -> Tensor:
        return latents

    def slope(self, normal: Tensor) -> Tensor:
        return torch.ones_like(normal)


UNIFORM, NORMAL = Uniform(), Normal()


def draw_uniform(*shape: int, generator: torch.Generator) -> Tensor:
    """Uniform on [-1, 1), independent in every entry."""
    return torch.rand(*shape, generator=generator, device=generator.device).mul_(2).sub_(1)


def draw_normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal, independent in every entry."""
    return torch.randn(*shape, generator=generator, device=generator.device)


def mix_normal(a: Tensor, b: Tensor, t: float) -> Tensor:
    """cos(t pi/2) a + sin(t pi/2) b: standard normal at every t when a and b are independent standard normal draws."""
    return math.cos(t * math.pi / 2) * a + math.sin(t * math.pi / 2) * b


def mix_uniform(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The same path for uniform draws on [-1, 1]: through the normal quantile function and back."""
    return UNIFORM.of_normal(mix_normal(UNIFORM.to_normal(a), UNIFORM.to_normal(b), t))


def to_shell(latents: Tensor) -> Tensor:
    """Latents (n, ...), their norms clamped to within three standard deviations of that of standard normal draws.

    A normal prior's support is everything, but its draws in d dimensions lie in a shell of radius sqrt(d), as thick in
    many dimensions as in few. Samples start there, so an image found elsewhere would say nothing of them.
    """
    norms = latents.flatten(1).norm(dim=1).clamp_min(1e-12)
    radius = math.sqrt(latents[0].numel())
    factors = norms.clamp(max(0.0, radius - SHELL), radius + SHELL) / norms
    return latents * factors.view(-1, *[1] * (latents.dim() - 1))
