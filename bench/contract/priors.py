"""Latent priors: how to draw from them, and paths between two draws that stay on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EDGE = 1 - 1e-6  # the normal quantile function is infinite at the ends of the uniform's range


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
    mixed = mix_normal(_to_normal(a), _to_normal(b), t)
    return torch.special.ndtr(mixed).mul(2).sub(1)


def _to_normal(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.clamp(-_EDGE, _EDGE).add(1).div(2))
