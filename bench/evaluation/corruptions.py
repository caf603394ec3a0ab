"""Images that no one would take for a sample, but that a score may: blurred, noised, blended, of one colour, noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from bench.contract.seeds import seeded

BLUR = 1 / 16  # the Gaussian's standard deviation, over the image's side
NOISE = 64  # standard deviation in grey levels: a quarter of the range
_REACH = 3  # standard deviations that the kernel has on either side
_ROWS = 1024  # images at once


def blur_deviation(image_shape: tuple[int, ...]) -> float:
    """The standard deviation in pixels for images (C, H, W)."""
    return BLUR * image_shape[-1]


def blurred(images: Tensor) -> Tensor:
    """Uint8 images (n, C, H, W) under a Gaussian of a sixteenth of their side; pixels beyond the edge are mirrored."""
    deviation = blur_deviation(tuple(images.shape[1:]))
    reach = min(max(1, round(_REACH * deviation)), images.shape[-1] - 1)
    parts = [gaussian_blur(part.float(), [2 * reach + 1] * 2, [deviation] * 2) for part in images.split(_ROWS)]
    return _bytes(torch.cat(parts))


def noised(images: Tensor) -> Tensor:
    """Uint8 images (n, C, H, W) with normal noise of 64 grey levels, clamped to [0, 255]; always the same noise."""
    generator = seeded("noise on images", *images.shape[1:])
    parts = [part + NOISE * torch.randn(part.shape, generator=generator) for part in images.split(_ROWS)]
    return _bytes(torch.cat(parts))


def blends(images: Tensor) -> Tensor:
    """The mean of each of n > 1 uint8 images (n, C, H, W) and the next one, of the last and the first: n images."""
    return _bytes((images.float() + images.roll(-1, 0).float()) / 2)


def constants(n: int, image_shape: tuple[int, int, int]) -> Tensor:
    """Images of one uniformly drawn colour each, uint8 (n, C, H, W); always the same ones."""
    channels, *side = image_shape
    colours = torch.randint(256, (n, channels, 1, 1), generator=seeded("constants", channels), dtype=torch.uint8)
    return colours.expand(-1, -1, *side).contiguous()


def noise(n: int, image_shape: tuple[int, int, int]) -> Tensor:
    """Uniform noise, uint8 (n, C, H, W); always the same images."""
    generator = seeded("uniform noise", *image_shape)
    return torch.randint(256, (n, *image_shape), generator=generator, dtype=torch.uint8)


def _bytes(pixels: Tensor) -> Tensor:
    return pixels.round().clamp(0, 255).to(torch.uint8)
