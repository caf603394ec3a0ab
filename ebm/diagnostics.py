"""What a chain tells of its health: gradient norms along it, and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ebm.langevin import ChainSettings, langevin

BEYOND = 10  # times K: how far a chain is followed
POINTS = 60  # of its energy, evenly spaced; the gradient's norm comes with every step


def chain_scalars(norms: Tensor, end: Tensor) -> dict[str, Tensor]:
    """Zero-dimensional tensors of a chain's mean gradient norms (K,) and its end (n, C, H, W), not clamped."""
    return {
        "gradient norm": norms.mean(),  # mean ||E'(x_k)|| over images and steps
        "last gradient norm": norms[-1],
        "chain std": end.std(),
        "chain min": end.min(),
        "chain max": end.max(),
        "outside": (end.abs() > 1).float().mean(),  # fraction of pixels beyond [-1, 1]
    }


@torch.no_grad()
def chain_curves(
    energy: Callable[[Tensor], Tensor],  # images (n, C, H, W) -> energies (n,)
    x: Tensor,  # (n, C, H, W), the chains' starts
    settings: ChainSettings,
    generator: torch.Generator,
) -> list[dict[str, Any]]:
    """Mean ||dE/dx|| over the chains at every step, and mean energy at some, for 10 K steps; the mark is K.

    A chain that was trained for K steps may leave the finite numbers beyond them: the curves end there.
    """
    steps = BEYOND * settings.steps
    norms = torch.empty(steps, device=x.device)
    energies: list[tuple[int, Tensor]] = []
    every = max(1, steps // POINTS)

    def observe(k: int, x: Tensor, _: Tensor) -> None:
        if k % every == 0:
            energies.append((k, energy(x).mean()))

    end = langevin(energy, x, replace(settings, steps=steps), generator=generator, norms=norms, observe=observe)
    energies.append((steps, energy(end).mean()))
    return [
        *_curve("gradient norm", list(range(steps)), norms, settings.steps),
        *_curve("energy", [k for k, _ in energies], torch.stack([e for _, e in energies]), settings.steps),
    ]


def _curve(what: str, x: list[int], y: Tensor, mark: int) -> list[dict[str, Any]]:
    """One curve as a record holds it, up to its first value that is not finite; none if that is the first."""
    broken = (~torch.isfinite(y)).nonzero()
    n = int(broken[0]) if len(broken) else len(x)
    if not n:
        return []
    name = f"{what} by step"
    labels = {
        "name": name,
        "title": name,
        "group": "diagnostics",
        "x_label": "Langevin step",
        "y_label": f"mean {what}",
    }
    return [labels | {"x": x[:n], "y": y[:n].tolist(), "log_x": False, "mark": mark}]
