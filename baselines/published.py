"""The published algorithm with its settings, written afresh from the paper: what other models are raced against.

Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1, as plain as the authors' minimal script runs it: autograd through an
`nn.Sequential`, nothing annealed, averaged or guarded. `ebm` computes the same updates on an engine of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.nets import check_side
from baselines.published_chain import published_chain
from bench.contract.config import ModelConfig, require
from bench.contract.inversion import InvertingModel, OfEnd
from bench.contract.optimizers import load_optimizer
from bench.contract.precision import full_precision
from bench.contract.priors import UNIFORM
from bench.contract.seeds import seeded_init
from bench.errors import NotFiniteError

LEAK = 0.2  # slope of LeakyReLU below zero


@dataclass(frozen=True)
class PublishedConfig(ModelConfig):
    """The settings of the authors' minimal script, which runs 100,000 updates; lengths of runs are the profile's."""

    n_f: int = 64  # channels of the first layer
    steps: int = 100  # K
    step_size: float = 1.0
    noise_std: float = 0.01
    sigma: float = 0.03  # standard deviation of the noise added to the data
    lr: float = 1e-4
    beta1: float = 0.9
    inversion_rate: float = 0.5  # of the error of a decode, by which an inversion moves the latent
    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "n_f": 4, "steps": 3}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_f", "steps"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("step_size", "lr", "inversion_rate"):
            require(self, name, getattr(self, name) > 0, "above 0")
        for name in ("noise_std", "sigma"):
            require(self, name, getattr(self, name) >= 0, "0 or more")
        require(self, "beta1", 0 <= self.beta1 < 1, "in [0, 1)")

    def steadier(self) -> dict[str, float]:
        """Half the learning rate and half as much again of the data's noise."""
        return {"lr": self.lr / 2, "sigma": 1.5 * self.sigma}


def plain_sequence(channels: int, side: int, n_f: int) -> nn.Sequential:
    """The paper's f = -E, (n, channels, side, side) -> (n, 1, 1, 1).

    A 3x3 convolution, then 4x4 ones with stride 2 until 4x4 remain, then 4x4 to one number. Sides as in
    `baselines.nets.SIDES`; 28 is padded to 32 by the first layer.
    """
    check_side(side)
    padding = 3 if side == 28 else 1
    layers: list[nn.Module] = [nn.Conv2d(channels, n_f, 3, 1, padding), nn.LeakyReLU(LEAK)]
    width, size = n_f, side + 2 * (padding - 1)
    while size > 4:
        layers += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(LEAK)]
        width, size = 2 * width, size // 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4))


class Published(InvertingModel):
    """f and its short-run chain. A latent is the chain's start, an image-shaped uniform draw."""

    step_name = "Langevin step"
    prior = UNIFORM

    def __init__(self, f: nn.Module, config: PublishedConfig, image_shape: tuple[int, int, int]):
        super().__init__()
        self.f = f
        self.config, self.evaluations_per_sample = config, config.steps
        self.image_shape = self.latent_shape = image_shape

    def chain(self, x: Tensor, steps: int, generator: torch.Generator | None = None) -> Tensor:
        """The end of `steps` steps from `x`, not clamped, noise-free without a generator; may be not finite.

        In float32 at any `training.precision`, so that samples come from the chain that was trained.
        """

        def draw(x: Tensor) -> Tensor:
            return torch.randn(x.shape, generator=generator, device=x.device)

        config = self.config
        with torch.enable_grad(), full_precision(x.device):
            return published_chain(
                self.f,
                x,
                steps,
                step_size=config.step_size,
                noise_std=config.noise_std,
                draw=torch.zeros_like if generator is None else draw,
            )

    def decode(self, latents: Tensor) -> Tensor:
        """The noise-free chain's end, clamped to [-1, 1]. Raises NotFiniteError where it is not finite."""
        return finite(self.chain(latents, self.config.steps)).clamp(-1, 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The noisy chain's end, clamped to [-1, 1]. Raises NotFiniteError where it is not finite."""
        start = self.sample_latents(n, generator)
        return finite(self.chain(start, self.config.steps, generator)).clamp(-1, 1)

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        """The noise-free chain's end; f is piecewise linear, so that dM/dz = I almost everywhere."""
        end = finite(self.chain(z, self.config.steps))
        return end, of_end(end)

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        """Gradient descent: where dM/dz = I, a latent moves by `inversion_rate` times the error of its decode."""
        return torch.optim.SGD(latents, lr=self.config.inversion_rate / 2)

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor:
        """The noisy chain at `frames` evenly spaced steps from 0 to K: (frames, n, C, H, W), clamped to [-1, 1]."""
        steps = [round(i * self.config.steps / (frames - 1)) for i in range(frames)]
        states = [self.sample_latents(n, generator)]
        for before, after in itertools.pairwise(steps):
            states.append(self.chain(states[-1], after - before, generator))
        return finite(torch.stack(states)).clamp(-1, 1)

    def at_compute(self, factor: float) -> Published:
        """The same f with `factor` times the steps, rounded and at least 1."""
        steps = max(1, round(factor * self.config.steps))
        return Published(self.f, replace(self.config, steps=steps), self.image_shape)


def finite(x: Tensor) -> Tensor:
    """`x` itself; NotFiniteError where it is not finite."""
    if not torch.isfinite(x).all():
        raise NotFiniteError("the published chain's end is not finite")
    return x


class PublishedTrainer:
    """Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1, with Adam at a constant rate."""

    Config = PublishedConfig

    def __init__(
        self,
        config: PublishedConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ):
        self.config = config
        with seeded_init(generator):
            f = plain_sequence(image_shape[0], image_shape[1], config.n_f)
        self.model = Published(f, config, image_shape)
        self.model.to(device).eval()
        self.networks = (self.model.f,)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=(config.beta1, 0.999))

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (n, C, H, W) in [-1, 1]. A chain that explodes shows in the log's `energy gap`."""
        config, model = self.config, self.model
        negatives = model.chain(model.sample_latents(len(images), generator), config.steps, generator)
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        data = images + config.sigma * noise
        gap = model.f(data).float().mean() - model.f(negatives).float().mean()
        self.optimizer.zero_grad()
        (-gap).backward()
        self.optimizer.step()
        values = torch.stack([gap.detach(), negatives.std()]).tolist()  # one transfer from the device
        return dict(zip(("energy gap", "chain std"), values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
