"""Models that cost nothing, for `--models tests.scale.nothing:NAME`: what is left is what a grid does for a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.contract.config import ModelConfig
from bench.contract.model import GenerativeModel
from bench.contract.priors import UNIFORM
from bench.errors import DivergedError


@dataclass(frozen=True)
class Config(ModelConfig):
    updates: int = 1
    batch_size: int = 2


class Noise(GenerativeModel):
    """Uniform noise. A latent is an image."""

    prior = UNIFORM

    def __init__(self, image_shape):
        super().__init__()
        self.image_shape = self.latent_shape = image_shape
        self.scale = torch.nn.Parameter(torch.ones(()))

    @torch.no_grad()
    def decode(self, latents):
        return self.scale * latents

    def reconstruct(self, images, budget, generator, observe=None):
        return self.decode(images)


class Smallest:
    """One update that does nothing; then it is evaluated, as any model is."""

    Config = Config

    def __init__(self, config, image_shape, *, generator, device):
        self.config, self.model = config, Noise(image_shape).to(device)
        self.networks = (self.model,)

    def step(self, images, generator):
        return {"loss": 0.0}

    def state_dict(self):
        return {"model": self.model.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])


class Empty(Smallest):
    """Its first update ends it, so that a cell is planned, locked, begun, recorded and written, and no more."""

    def step(self, images, generator):
        raise DivergedError("there is nothing to train")
