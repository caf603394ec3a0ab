"""What a chain tells of itself: gradient norms along it, where it ends, its life beyond K steps, and as a network.

`docs/chain.md` explains every curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.contract.scores import Curve, Score, description
from ebm.langevin import ChainSettings, langevin

Energy = Callable[[Tensor], Tensor]  # images (n, C, H, W) -> energies (n,)

STEP = "Langevin step"
LAYER = f"layer ({STEP})"
BEYOND = 10  # times K: how far a chain is followed step by step
LONG = 100  # times K: how far a few chains are followed
LONG_CHAINS = 8
POINTS = 60  # of a curve that does not have every step
MOST_STATES = 2**26  # numbers (256 MiB) of the states kept for the residual view: fewer chains of large images
BLOCK = 64  # images of which the weights' gradient is taken at a time


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
    energy: Energy, x: Tensor, settings: ChainSettings, generator: torch.Generator
) -> tuple[Curve | None, Curve | None]:
    """Mean ||dE/dx|| over the chains from x (n, C, H, W) at every step, and mean energy at some, for 10 K steps.

    The mark is K. A chain that was trained for K steps may leave the finite numbers beyond them: the curves end there.
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
    at, y = [k for k, _ in energies], torch.stack([e for _, e in energies])
    return (
        curve(
            *("gradient norm by step", "mean gradient norm", range(steps), norms),
            mark=settings.steps,
            figures={"gradient-norm": "within the K steps"},
        ),
        curve("energy by step", "mean energy", at, y, mark=settings.steps),
    )


def gradient_norm(norms: Curve, chains: int) -> Score:
    """The mean of ||dE/dx|| over the steps of one sample, of the curve along `chains` chains."""
    own = [y for x, y in zip(norms.x, norms.y, strict=True) if norms.mark is None or x < norms.mark]
    return description("gradient norm", sum(own) / len(own), f"mean over {len(own)} steps of {chains} chains")


@torch.no_grad()
def long_curves(energy: Energy, x: Tensor, settings: ChainSettings, generator: torch.Generator) -> list[Curve]:
    """The same two for 100 K steps, at steps evenly spaced on a logarithmic axis: does the chain ever settle?"""
    total = LONG * settings.steps
    wanted = log_spaced(total)
    norms, energies = [], []

    def observe(k: int, x: Tensor, gradient: Tensor) -> None:
        if k in wanted:
            norms.append(gradient.flatten(1).norm(dim=1).mean())
            energies.append(energy(x).mean())

    # one more step, since a state is seen before its own step
    langevin(energy, x, replace(settings, steps=total + 1), generator=generator, observe=observe)
    found = [
        curve(
            *(f"{what} over a long run", f"mean {what}", wanted, torch.stack(values)),
            mark=settings.steps,
            log_x=True,
            title=f"{what} of chains run up to {LONG} times past K (dotted)",
            figures={"long-chain": what} | more,
        )
        for what, values, more in (
            ("gradient norm", norms, {"gradient-norm": "run on past K (dotted)"}),
            ("energy", energies, {}),
        )
    ]
    return [one for one in found if one]


def log_spaced(last: int, points: int = POINTS) -> list[int]:
    """About `points` different whole numbers from 1 to `last`, evenly spaced in their logarithm, ends included."""
    return sorted({round(last ** (i / (points - 1))) for i in range(points)})


@torch.no_grad()
def residual_curves(energy: Energy, x: Tensor, settings: ChainSettings, generator: torch.Generator) -> list[Curve]:
    """The chain as a residual network of K layers, x_k = x_{k-1} - step_size E'(x_{k-1}) + noise, layer by layer.

    Means over the chains of a layer's displacement ||x_k - x_{k-1}||, of its cosine with the whole way x_K - x_0, and
    the share of its squared length that is noise: ||noise||^2 / (||noise||^2 + ||step_size E'||^2), the cross term
    left out since it vanishes in expectation.
    """
    kept = max(1, min(len(x), MOST_STATES // ((settings.steps + 1) * x[0].numel())))
    states, drifts = [], []

    def observe(_: int, x: Tensor, gradient: Tensor) -> None:
        states.append(x.flatten(1).clone())
        drifts.append(gradient.flatten(1) * -settings.step_size)

    end = langevin(energy, x[:kept], settings, generator=generator, observe=observe)
    states.append(end.flatten(1))
    whole = states[-1] - states[0]
    lengths, cosines, shares = [], [], []
    for before, after, drift in zip(states[:-1], states[1:], drifts, strict=True):
        step = after - before
        noise, drifted = (step - drift).square().sum(), drift.square().sum()
        lengths.append(step.norm(dim=1).mean())
        cosines.append(nn.functional.cosine_similarity(step, whole).mean())
        shares.append(noise / (noise + drifted))
    layers = range(1, settings.steps + 1)
    found = [
        curve(name, label, layers, torch.stack(values), x_label=LAYER, figures={"residual-view": panel})
        for name, label, values, panel in (
            ("displacement by layer", "mean length of a layer's displacement", lengths, "displacement"),
            ("cosine by layer", "mean cosine with the whole way", cosines, "cosine with the whole way"),
            ("noise share by layer", "noise's share of the squared length", shares, "noise's share of the path"),
        )
    ]
    return [one for one in found if one]


def moments(energy: nn.Module, x: Tensor) -> Tensor:
    """The mean over images x (n, C, H, W) of dE/dtheta, all weights in one vector (p,): what learning matches."""
    weights = list(energy.parameters())
    total = torch.zeros(sum(p.numel() for p in weights), device=x.device)
    with torch.enable_grad():
        for block in x.split(BLOCK):
            gradients = torch.autograd.grad(energy(block).sum(), weights)
            total += torch.cat([g.flatten() for g in gradients])
    return total / len(x)


def moment_mismatch(energy: nn.Module, data: Tensor, chain: Tensor) -> Tensor:
    """How far learning is from its fixed point, E_data[dE/dtheta] = E_chain[dE/dtheta]; see `relative_distance`.

    Nijkamp et al. 2019, arXiv 1904.09770: short-run learning as a moment matching estimator. Images (n, C, H, W) and
    (m, C, H, W).
    """
    return relative_distance(moments(energy, data), moments(energy, chain))


def mismatch_score(energy: nn.Module, train: Tensor, samples: Tensor) -> Score:
    """The mismatch between half of the training images `train` (2 m, C, H, W) and m samples, beside that of the halves.

    The images are without the noise that learning adds to them, which the mismatch hardly feels (docs/chain.md).
    """
    first, second = train.chunk(2)
    of = f"{len(first)} training images against {len(samples)} samples"
    floor = moment_mismatch(energy, first, second).item()
    note = f"distance of the mean weight gradients over their norm, {of}; two halves of the images: {floor:.3g}"
    return description("moment mismatch", moment_mismatch(energy, first, samples).item(), note)


def moments_gap(data: Tensor, chain: Tensor) -> Tensor:
    """The same for the last, linear layer alone, whose dE/dw is minus its input: no pass of its own.

    `data` (n, ...) and `chain` (m, ...) are what enters that layer.
    """
    return relative_distance(data.detach().mean(0), chain.detach().mean(0))


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b|| over the mean of ||a|| and ||b||: 0 for equal vectors, 2 at most."""
    return (a - b).norm() / (0.5 * (a.norm() + b.norm()))


def curve(
    name: str,
    y_label: str,
    x: Sequence[int],
    y: Tensor,
    *,
    mark: int | None = None,
    log_x: bool = False,
    x_label: str = STEP,
    title: str = "",
    figures: dict[str, str] | None = None,
) -> Curve | None:
    """The curve up to its first value that is not finite; None if that is the first."""
    broken = (~torch.isfinite(y)).nonzero()
    n = int(broken[0]) if len(broken) else len(x)
    if not n:
        return None
    points = tuple(x)[:n], tuple(y[:n].tolist())
    return Curve(name, "diagnostics", x_label, y_label, *points, title, log_x, mark, figures or {})
