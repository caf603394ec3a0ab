"""In-painting: a latent is fitted to the left half of a held-out image, and its decode is held against the right half.

A model whose latent is as large as the image can copy what it sees; what it does not see only a trained one knows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract.inversion import InvertingModel
from bench.contract.model import GenerativeModel
from bench.contract.scores import Score
from bench.contract.seeds import BLOCK, seeded
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.reconstruction import INPAINTING, How, summed
from bench.metrics.images import reconstruction_mse


def left_half(width: int) -> Tensor:
    """The columns that are seen: bool (width,), true for the first width // 2."""
    return torch.arange(width) < width // 2


def hidden_error(images: Tensor, made: Tensor) -> Tensor:
    """Mean squared error (n,) of the columns that are not seen, of images (n, C, H, W) twice."""
    hidden = ~left_half(images.shape[-1])
    return reconstruction_mse(images[..., hidden], made[..., hidden])


def inpaint(
    model: GenerativeModel, held_out: Tensor, config: EvaluationConfig, seed: int, *, intervals: bool
) -> list[Score]:
    """The error of the unseen half of `held_out` images (n, C, H, W) in [-1, 1], CPU; nothing if it has no inversion.

    One inversion of the whole budget, whose gradient and whose choice of the best decode know the seen half alone.
    """
    images = held_out[: config.inpaintings]
    if not isinstance(model, InvertingModel) or not len(images):
        return []
    made = []
    for index, block in enumerate(images.split(BLOCK)):
        generator = seeded(seed, "inpaint", index, device=model.device)
        seen = left_half(images.shape[-1])
        made.append(model.invert(block.to(model.device), config.budget, generator, seen=seen).images.cpu())
    how = How(config.budget, "latent inversion from the left half")
    return summed({INPAINTING: hidden_error(images, torch.cat(made))}, how, seed=seed, intervals=intervals)


def of_mean(held_out: Tensor, mean: Tensor, config: EvaluationConfig, how: How) -> list[Score]:
    """The same error of a `mean` image (C, H, W) in place of every one."""
    images = held_out[: config.inpaintings]
    made = mean.expand_as(images)
    return summed({INPAINTING: hidden_error(images, made)}, how) if len(images) else []
