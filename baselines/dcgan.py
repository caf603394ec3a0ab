"""Deep convolutional generative adversarial network (Radford et al. 2016, arXiv 1511.06434)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.nets import downward, laid_out, upward
from bench.contract.config import ModelConfig, require
from bench.contract.inversion import InvertingModel, OfEnd, pull_back
from bench.contract.optimizers import load_optimizer
from bench.contract.priors import UNIFORM
from bench.contract.seeds import seeded_init


@dataclass(frozen=True)
class DCGANConfig(ModelConfig):
    latent: int = 100  # dimensions of the latent
    width: int = 64  # channels of the finest hidden layer, in both nets
    lr: float = 2e-4
    beta1: float = 0.5
    inversion_lr: float = 0.1  # Adam's rate for latent inversion
    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "latent": 16, "width": 8}
    search: ClassVar[Mapping[str, Any]] = {
        "lr": (5e-5, 2e-3, "log"),
        "latent": [16, 32, 64, 128],
        "width": [32, 64, 128],
        "beta1": [0.0, 0.5, 0.9],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "width"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "inversion_lr"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "beta1", 0 <= self.beta1 < 1, "in [0, 1)")

    def steadier(self) -> dict[str, float]:
        """Half the learning rate."""
        return {"lr": self.lr / 2}


class DCGAN(InvertingModel):
    """The generator alone. Latents (n, latent), uniform on [-1, 1)."""

    prior = UNIFORM

    def __init__(self, image_shape: tuple[int, int, int], latent: int, width: int, inversion_lr: float):
        super().__init__()
        channels, side, _ = image_shape
        self.image_shape, self.latent_shape, self.inversion_lr = image_shape, (latent,), inversion_lr
        self.generator = upward(latent, channels, side, width)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return self._image(latents)

    def _image(self, latents: Tensor) -> Tensor:
        return self.generator(latents[:, :, None, None])

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        return pull_back(self._image, z, of_end)

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(latents, lr=self.inversion_lr)


class DCGANTrainer:
    """The discriminator's update, then the generator's with the non-saturating loss (Goodfellow et al. 2014)."""

    Config = DCGANConfig

    def __init__(
        self,
        config: DCGANConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ):
        self.config = config
        with seeded_init(generator):
            self.model = DCGAN(image_shape, config.latent, config.width, config.inversion_lr)
            self.discriminator = downward(1, image_shape[0], image_shape[1], config.width)
            for net in (self.model, self.discriminator):
                net.apply(_dcgan_weights)
        laid_out(self.model, device).eval()
        laid_out(self.discriminator, device)
        self.networks = (self.model, self.discriminator)
        betas = (config.beta1, 0.999)
        self.generator_optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=betas)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=config.lr, betas=betas)

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update of each net on `images` (n, C, H, W) in [-1, 1]."""
        model = self.model.train()

        def logits(images: Tensor) -> Tensor:
            return self.discriminator(images).float()  # the losses are float32 at any training.precision

        fakes = model.generator(model.sample_latents(len(images), generator)[:, :, None, None])

        # real and generated images in batches of their own, as batch norm in the discriminator wants it
        real, fake = logits(images), logits(fakes.detach())
        discriminator_loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        discriminator_loss.backward()
        self.discriminator_optimizer.step()

        generator_loss = F.softplus(-logits(fakes)).mean()
        self.generator_optimizer.zero_grad(set_to_none=True)
        generator_loss.backward()
        self.generator_optimizer.step()
        model.eval()
        values = torch.stack(
            [discriminator_loss, generator_loss, real.sigmoid().mean(), fake.sigmoid().mean()],
        ).tolist()
        return dict(zip(("discriminator loss", "generator loss", "D(x)", "D(G(z))"), values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in (*self._NETS, *self._OPTIMIZERS)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._NETS:
            getattr(self, name).load_state_dict(state[name])
        for name in self._OPTIMIZERS:
            load_optimizer(getattr(self, name), state[name])

    _NETS, _OPTIMIZERS = ("model", "discriminator"), ("generator_optimizer", "discriminator_optimizer")


def _dcgan_weights(layer: nn.Module) -> None:
    # the paper's: normal of standard deviation 0.02, around 0 for convolutions and 1 for batch norm
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
