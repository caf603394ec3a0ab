"""Weights averaged over training: what a model samples with where the last update's weights are too noisy."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average(mean: nn.Module, now: nn.Module, decay: float, updates: int) -> None:
    """Move the parameters of `mean` towards those of `now`, by an exponential moving average's step.

    A young average would remember the first weights too long: after u = `updates` (1, ...) its decay is
    min(decay, u / (u + 10)).
    """
    decay = min(decay, updates / (updates + 10))
    for m, p in zip(mean.parameters(), now.parameters(), strict=True):
        m.lerp_(p, 1 - decay)
