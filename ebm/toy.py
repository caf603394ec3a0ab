"""Short-run learning in the plane, where the truth is known: what the energy learns, and what its chains make of it.

The same sampler and the same algorithm as for images; a point is an image of two channels and one pixel. The chain is
the textbook one (step_size = noise_std^2 / 2), so that exp(-E) / Z is the density that it would reach in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.contract.priors import draw_uniform
from bench.contract.seeds import seeded, seeded_init
from ebm.langevin import ChainSettings, langevin
from ebm.learning import Contrast, annealed, descend, noisy

LIMIT = 1.0  # the plane is shown, and chains start, on [-LIMIT, LIMIT]^2


@dataclass(frozen=True)
class ToySettings:
    """Found by trial; docs/chain.md has what they reach and in what time."""

    updates: int = 400
    batch_size: int = 256  # points and chains of an update
    width: int = 64  # of the two hidden layers, and Fourier features
    frequency: float = 4.0  # standard deviation of the features' angular frequencies
    steps: int = 60  # K
    noise_std: float = 0.03
    sigma: float = 0.01  # standard deviation of the noise added to the data
    lr: float = 2e-3  # falls linearly to zero
    bins: int = 64  # of the grid, across and down
    ends: int = 20000  # chain ends that the short-run density is the histogram of
    smooth: float = 1.0  # standard deviation, in bins, of the kernel that all densities are smoothed with

    @property
    def chain(self) -> ChainSettings:
        return ChainSettings(self.steps, self.noise_std**2 / 2, self.noise_std)


@dataclass(frozen=True)
class Truth:
    """A density on the plane, all but 1e-6 of it on the square: as a function of points (n, 2), and its draws."""

    name: str
    density: Callable[[Tensor], Tensor]  # (n, 2) -> (n,)
    draw: Callable[[int, torch.Generator], Tensor]  # -> (n, 2)


def mixture(modes: int = 8, radius: float = 0.65, std: float = 0.06) -> Truth:
    """Equal Gaussians, evenly spaced around a circle."""
    angle = torch.arange(modes) * (2 * math.pi / modes)
    centres = radius * torch.stack([angle.cos(), angle.sin()], dim=1)

    def density(x: Tensor) -> Tensor:
        square = torch.cdist(x, centres.to(x)).square()
        return torch.exp(-square / (2 * std**2)).mean(1) / (2 * math.pi * std**2)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(modes, (n,), generator=generator)
        return centres[chosen] + std * torch.randn(n, 2, generator=generator)

    return Truth("mixture of eight Gaussians", density, draw)


def rings(radii: tuple[float, ...] = (0.35, 0.75), std: float = 0.04) -> Truth:
    """Equal shares on concentric circles; the distance from the centre is normal around each radius."""

    def density(x: Tensor) -> Tensor:
        r = x.norm(dim=1, keepdim=True)
        around = torch.exp(-(r - torch.tensor(radii).to(x)).square() / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
        return around.mean(1) / (2 * math.pi * r.squeeze(1).clamp_min(1e-12))

    def draw(n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.tensor(radii)[torch.randint(len(radii), (n,), generator=generator)]
        r, angle = chosen + std * torch.randn(n, generator=generator), 2 * math.pi * torch.rand(n, generator=generator)
        return r[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)

    return Truth("two rings", density, draw)


TRUTHS: dict[str, Callable[[], Truth]] = {"mixture": mixture, "rings": rings}


class PlaneEnergy(nn.Module):
    """Points as images (n, 2, 1, 1) to energies (n,): a smooth multilayer perceptron on random Fourier features.

    Without the features it learns the distance from the centre and, in as many updates, no angle.
    """

    def __init__(self, width: int, frequency: float):
        super().__init__()
        self.register_buffer("waves", frequency * torch.randn(2, width // 2))
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Linear(width, width), nn.SiLU()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.of_features(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What enters the last, linear layer (n, width)."""
        phase = x.flatten(1) @ self.waves
        return self.net[:-1](torch.cat([phase.sin(), phase.cos()], dim=1))

    def of_features(self, h: Tensor) -> Tensor:
        """(n, width) -> (n,)."""
        return self.net[-1](h).squeeze(1)


def untrained(settings: ToySettings, seed: int) -> PlaneEnergy:
    with seeded_init(seeded(seed, "toy weights")):
        return PlaneEnergy(settings.width, settings.frequency)


def learn(truth: Truth, settings: ToySettings, seed: int, observe: Callable[[int], None] | None = None) -> PlaneEnergy:
    """The energy after short-run learning on fresh draws of `truth`: ascend mean f(data + sigma eps) - mean f(x_K).

    Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1, f = -E. `observe` is told the number of updates made.
    """
    energy = untrained(settings, seed)
    optimizer = torch.optim.Adam(energy.parameters(), lr=settings.lr, betas=(0.5, 0.999))
    n, generator = settings.batch_size, seeded(seed, "toy", truth.name)
    for update in range(settings.updates):
        data = noisy(as_images(truth.draw(n, generator)), settings.sigma, generator)
        negatives = short_run(energy, n, settings, generator)
        lr = annealed(settings.lr, 0.0, update, settings.updates)
        descend(optimizer, Contrast(energy, data, negatives).loss(), lr)
        if observe is not None:
            observe(update + 1)
    return energy


def short_run(energy: PlaneEnergy, n: int, settings: ToySettings, generator: torch.Generator) -> Tensor:
    """Ends (n, 2, 1, 1) of K-step chains from uniform starts, not clamped."""
    start = LIMIT * draw_uniform(n, 2, 1, 1, generator=generator)
    return langevin(energy, start, settings.chain, generator=generator)


def as_images(x: Tensor) -> Tensor:
    """Points (n, 2) as (n, 2, 1, 1)."""
    return x[:, :, None, None]


def centres(bins: int) -> Tensor:
    """The middles (bins * bins, 2) of a grid's squares, row by row from the bottom; a row runs along the first axis."""
    middle = ((torch.arange(bins, dtype=torch.float64) + 0.5) / bins * 2 - 1) * LIMIT
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def share(x: Tensor, bins: int) -> Tensor:
    """The share of points (n, 2) in each square, float64 (bins, bins); the sum is below 1 where points lie outside."""
    inside = x[(x.abs() < LIMIT).all(1)].double()
    at = ((inside / LIMIT + 1) / 2 * bins).long().clamp_max(bins - 1)
    return torch.bincount(at[:, 1] * bins + at[:, 0], minlength=bins * bins).double().view(bins, bins) / len(x)


def smoothed(mass: Tensor, std: float) -> Tensor:
    """A mass per square (bins, bins) under a Gaussian kernel of `std` bins; what leaves the grid is lost."""
    reach = math.ceil(4 * std)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=mass.dtype) / std).square())
    weights = (weights / weights.sum()).view(1, 1, -1)
    along = nn.functional.conv1d(mass[:, None], weights, padding=reach)[:, 0]
    return nn.functional.conv1d(along.T[:, None].contiguous(), weights, padding=reach)[:, 0].T


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of |p - q| over the grid, and half of what either lacks to 1, which lies outside: 0 to 1."""
    return float(0.5 * (p - q).abs().sum() + 0.5 * (p.sum() - q.sum()).abs())


@dataclass(frozen=True)
class Triptych:
    """Mass per square (bins, bins), float64, smoothed alike: the truth, exp(-E) / Z on the grid, and chain ends."""

    truth: Tensor
    learned: Tensor
    short_run: Tensor
    total_variation: dict[str, float]  # from the truth


def triptych(truth: Truth, energy: PlaneEnergy, settings: ToySettings, seed: int) -> Triptych:
    """What the truth, the energy and its chains look like on the grid.

    Besides those of `learned` and `short_run`, total variations of the chains of an `untrained` net and of as many
    draws of the truth itself (`sampling`, the floor).
    """
    n, bins = settings.ends, settings.bins

    def smooth(mass: Tensor) -> Tensor:
        return smoothed(mass, settings.smooth)

    def ends(net: PlaneEnergy) -> Tensor:
        return smooth(share(short_run(net, n, settings, seeded(seed, "toy ends")).flatten(1), bins))

    exact = truth.density(centres(bins)).view(bins, bins)
    exact = smooth(exact / exact.sum())
    with torch.no_grad():
        logits = -energy(as_images(centres(bins).float())).double()
    learned, made = smooth(torch.softmax(logits, 0).view(bins, bins)), ends(energy)
    drawn = smooth(share(truth.draw(n, seeded(seed, "toy truth")), bins))
    others = {"short_run": made, "learned": learned, "untrained": ends(untrained(settings, seed)), "sampling": drawn}
    return Triptych(exact, learned, made, {name: total_variation(exact, mass) for name, mass in others.items()})
