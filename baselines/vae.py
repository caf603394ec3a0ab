"""A convolutional variational autoencoder (Kingma and Welling 2014, arXiv 1312.6114)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.nets import downward, laid_out, upward
from bench.contract.config import ModelConfig, require
from bench.contract.inversion import InvertingModel, OfEnd, pull_back
from bench.contract.model import Observer
from bench.contract.optimizers import load_optimizer
from bench.contract.priors import NORMAL
from bench.contract.seeds import seeded_init

LEAST_VARIANCE = 1e-5  # about (1/255)^2: nothing finer than a grey level is worth modelling


@dataclass(frozen=True)
class VAEConfig(ModelConfig):
    latent: int = 128  # dimensions of the latent
    width: int = 64  # channels of the finest hidden layer
    variance: float = 0.0  # of the Gaussian likelihood of a pixel; 0: the best one for each batch, its squared error
    lr: float = 1e-3
    beta1: float = 0.9
    inversion_lr: float = 0.1  # Adam's rate for latent inversion
    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "latent": 16, "width": 8}
    search: ClassVar[Mapping[str, Any]] = {
        "lr": (1e-4, 5e-3, "log"),
        "latent": [16, 32, 64, 128, 256],
        "width": [32, 64, 128],
        "variance": [0.0, 0.003, 0.01, 0.03, 0.1],
        "beta1": [0.5, 0.9],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "width"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "variance", self.variance >= 0, "0 (learned) or more")
        for name in ("lr", "inversion_lr"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "beta1", 0 <= self.beta1 < 1, "in [0, 1)")

    def steadier(self) -> dict[str, float]:
        """Half the learning rate."""
        return {"lr": self.lr / 2}


class VAE(InvertingModel):
    """Latents (n, latent), standard normal; an image is the mean of the decoder's Gaussian.

    It reconstructs with its encoder; that its decoder can be inverted as well lets it be measured as others are.
    """

    prior = NORMAL
    reconstructs_by_inversion = False

    def __init__(self, image_shape: tuple[int, int, int], latent: int, width: int, inversion_lr: float):
        super().__init__()
        channels, side, _ = image_shape
        self.image_shape, self.latent_shape, self.inversion_lr = image_shape, (latent,), inversion_lr
        self.encoder = downward(2 * latent, channels, side, width)
        self.decoder = upward(latent, channels, side, width)

    @property
    def sampler(self) -> nn.Module:
        return self.decoder

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (n, latent), of the approximate posterior."""
        mean, log_variance = self.encoder(images).to(images.dtype).flatten(1).chunk(2, dim=1)
        return mean, log_variance

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self._image(latents)

    def _image(self, latents: Tensor) -> Tensor:
        return self.decoder(latents[:, :, None, None])

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        return pull_back(self._image, z, of_end)

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(latents, lr=self.inversion_lr)

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        """The decode of the encoder's mean: one decode, whatever the budget."""
        return self.decode(self.invert_latents(images, budget, generator))

    @torch.no_grad()
    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        """The encoder's mean."""
        return self.encode(images)[0]


class VAETrainer:
    """Maximizes the evidence lower bound with one sample of the posterior an image.

    The likelihood is Gaussian with one variance for all pixels: a fixed one, or the maximum-likelihood one, the
    batch's mean squared error (the optimal sigma of Rybkin et al. 2021, arXiv 2006.13202), which needs no tuning.
    """

    Config = VAEConfig

    def __init__(
        self,
        config: VAEConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ):
        self.config = config
        with seeded_init(generator):
            self.model = VAE(image_shape, config.latent, config.width, config.inversion_lr)
        laid_out(self.model, device).eval()
        self.networks = (self.model,)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=(config.beta1, 0.999))

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (n, C, H, W) in [-1, 1]; nats an image in the log."""
        model = self.model.train()
        mean, log_variance = model.encode(images)
        eps = torch.randn(mean.shape, generator=generator, device=mean.device)
        decoded = model.decoder((mean + eps * (log_variance / 2).exp())[:, :, None, None]).to(images.dtype)
        error = (decoded - images).square()
        fixed = self.config.variance
        variance = error.new_full((), fixed) if fixed else error.mean().detach().clamp_min(LEAST_VARIANCE)
        nll = 0.5 * (error / variance + variance.log() + math.log(2 * math.pi)).flatten(1).sum(1).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        ((nll + kl) / images[0].numel()).backward()
        self.optimizer.step()
        model.eval()
        values = torch.stack([nll + kl, nll, kl, error.mean(), variance]).tolist()
        return dict(zip(("negative elbo", "nll", "kl", "mse", "variance"), values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        load_optimizer(self.optimizer, state["optimizer"])
