"""Models, data and an extractor whose scores are known, or at least quick."""

from __future__ import annotations

import torch

from bench.contract.inversion import InvertingModel, pull_back
from bench.contract.model import GenerativeModel
from bench.contract.priors import NORMAL, UNIFORM, draw_uniform
from bench.contract.seeds import seeded
from bench.data import ImageData, content_hash
from bench.evaluation import EvaluationConfig, Evaluator
from bench.evaluation.entries import Real

SHAPE = (1, 8, 8)


class Pixels:
    """An extractor of 16 block means, so that scores take milliseconds."""

    name, side, width, weights_hash, label = "pixels", 8, 16, "00", "pixels, 8 px"

    def __call__(self, images):
        x = torch.nn.functional.avg_pool2d(images.float() / 255, 2).mean(1).flatten(1)
        return x, x[:, :4]


class Scaled(GenerativeModel):
    """Latents are images; a decode multiplies them by one weight."""

    def __init__(self, scale=1.0, normal=False):
        super().__init__()
        self.image_shape = self.latent_shape = SHAPE
        self.prior = NORMAL if normal else UNIFORM
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    @torch.no_grad()
    def decode(self, latents):
        return (self.scale * latents).clamp(-1, 1)

    def reconstruct(self, images, budget, generator, observe=None):
        return self.decode(images)

    def invert_latents(self, images, budget, generator):
        return images


class Linear(InvertingModel):
    """The image of z is W z + b, small enough to be clamped nowhere near a draw of the prior."""

    def __init__(self, latent, prior, seed=0):
        super().__init__()
        self.image_shape, self.latent_shape, self.prior = SHAPE, (latent,), prior
        weight = torch.randn(64, latent, generator=seeded("weight", seed)) / (5 * latent**0.5)
        self.weight = torch.nn.Parameter(weight)
        self.bias = torch.nn.Parameter(0.1 * torch.randn(64, generator=seeded("bias", seed)))

    def image(self, z):
        return (z @ self.weight.T + self.bias).view(-1, *SHAPE)

    @torch.no_grad()
    def decode(self, latents):
        return self.image(latents).clamp(-1, 1)

    def decode_and_pull_back(self, z, of_end):
        return pull_back(self.image, z, of_end)

    def inversion_optimizer(self, latents):
        return torch.optim.Adam(latents, lr=0.02)


class Guessing(Scaled):
    """Reconstructs each image as the best of `budget` draws of noise: its error falls, restarts change nothing."""

    reconstructs_by_inversion = True

    def reconstruct(self, images, budget, generator, observe=None):
        least, best = torch.full((len(images),), torch.inf), images
        for done in range(1, budget + 1):
            guess = draw_uniform(*images.shape, generator=generator)
            error = (guess - images).square().flatten(1).mean(1)
            best = torch.where((error < least)[:, None, None, None], guess, best)
            least = torch.minimum(least, error)
            if observe:
                observe(done, least)
        return best


def bytes_of(n, seed):
    return torch.randint(256, (n, *SHAPE), generator=seeded("bytes", seed), dtype=torch.uint8)


def data(train=128, held_out=20, spare=0) -> ImageData:
    parts = bytes_of(train, 0), bytes_of(held_out, 1)
    return ImageData("blobs", *parts, 0, content_hash(*parts), (), *([bytes_of(spare, 2)] if spare else []))


def config(**settings) -> EvaluationConfig:
    small = {"samples": 64, "paths": 4, "points": 5, "budget": 6, "sweep_samples": 0, "throughput_batch": 2}
    return EvaluationConfig(**{**small, "throughput_repeats": 1, **settings})


def evaluator(images=None, **settings) -> Evaluator:
    return Evaluator(images or data(), Pixels(), config(**settings), progress=False)


def real() -> Real:
    return evaluator().real


def by_name(entries):
    return {one.name: one for one in entries}
