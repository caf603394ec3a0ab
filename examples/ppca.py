"""A model of one's own, complete: probabilistic principal components (Tipping and Bishop 1999), learned by Adam.

python -m bench.compare --datasets digits --models ebm examples.ppca:PPCATrainer --set PPCATrainer.latent=32
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal

from bench.contract.config import ModelConfig, require
from bench.contract.model import GenerativeModel, Observer
from bench.contract.optimizers import load_optimizer
from bench.contract.priors import NORMAL
from bench.contract.scores import Diagnostics, description
from bench.contract.seeds import seeded_init


@dataclass(frozen=True)
class PPCAConfig(ModelConfig):
    latent: int = 16  # principal components
    lr: float = 1e-2

    smoke: ClassVar[Mapping[str, Any]] = {"updates": 20, "latent": 4}  # settings that train in seconds

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "latent", self.latent >= 1, "at least 1")
        require(self, "lr", self.lr > 0, "above 0")

    def steadier(self) -> dict[str, float]:
        return {"lr": self.lr / 2}  # what the message of a run that diverged advises


class PPCA(GenerativeModel):
    """x = mean + W z + sigma eps with z standard normal: latents (n, latent), images (n, C, H, W) in [-1, 1]."""

    prior = NORMAL
    ood_score_name = "negative log likelihood"

    def __init__(self, image_shape: tuple[int, int, int], latent: int):
        super().__init__()
        self.image_shape, self.latent_shape = image_shape, (latent,)
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.components = nn.Parameter(0.1 * torch.randn(pixels, latent))
        self.log_variance = nn.Parameter(torch.tensor(-2.0))

    def distribution(self) -> LowRankMultivariateNormal:
        """The density of an image as one vector, with z integrated out."""
        noise = self.log_variance.exp().expand(len(self.mean))
        return LowRankMultivariateNormal(self.mean, self.components, noise)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return (self.mean + latents @ self.components.T).clamp(-1, 1).view(-1, *self.image_shape)

    @torch.no_grad()
    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        """The mean of the posterior, (W'W + sigma^2 I)^-1 W' (x - mean): no decode is spent on it."""
        w, identity = self.components, torch.eye(self.components.shape[1], device=self.device)
        precision = w.T @ w + self.log_variance.exp() * identity
        return torch.linalg.solve(precision, w.T @ (images.flatten(1) - self.mean).T).T

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        return self.decode(self.invert_latents(images, budget, generator))

    # all that follows is optional: a model without it has fewer columns in the tables

    @torch.no_grad()
    def ood_score(self, images: Tensor) -> Tensor:
        return -self.distribution().log_prob(images.flatten(1))

    @torch.no_grad()
    def diagnose(
        self, n: int, generator: torch.Generator, *, train: Tensor, samples: Callable[[], Tensor], far: bool
    ) -> Diagnostics:
        note = "of a pixel, beyond the components"
        return Diagnostics((description("noise deviation", float((self.log_variance / 2).exp()), note),))


class PPCATrainer:
    """Maximizes the exact log likelihood of the images."""

    Config = PPCAConfig

    def __init__(
        self,
        config: PPCAConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ):
        self.config = config
        with seeded_init(generator):  # first weights come from the generator
            self.model = PPCA(image_shape, config.latent)
        self.model.to(device).eval()
        self.networks = (self.model,)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr)

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        loss = -self.model.distribution().log_prob(images.flatten(1)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {"nll": loss.item()}

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
