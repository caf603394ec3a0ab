"""The convolutional nets of VAE and DCGAN: DCGAN's generator shape upwards, its discriminator shape downwards.

Radford et al. 2016, arXiv 1511.06434: strided (transposed) 4x4 convolutions, batch norm except where the image is,
ReLU upwards, LeakyReLU(0.2) downwards. The widest layer, `width * 2^(doublings - 1)` channels, is the coarsest.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

SIDES = (8, 16, 28, 32, 64, 128)


def check_side(side: int) -> None:
    """Raise ValueError, naming the sides in `SIDES`, for any other."""
    if side not in SIDES:
        raise ValueError(f"image side {side} is not supported: choose an image size of {', '.join(map(str, SIDES))}")


def laid_out(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` itself, moved to `device`; on a GPU with its kernels channels-last, which activations then follow.

    Tensor cores read that layout, and other layouts are transposed for them at each convolution. On a CPU it brought
    nothing. Checkpoints keep no strides, so that they fit either.
    """
    net.to(device)
    return net.to(memory_format=torch.channels_last) if device.type == "cuda" else net


def plan(side: int, width: int) -> tuple[int, list[int]]:
    """The coarsest side (4; 7 for 28; 2 for 8, for depth's sake) and the channels from there on, finest last."""
    check_side(side)
    base = {28: 7, 8: 2}.get(side, 4)
    doublings = (side // base).bit_length() - 1
    return base, [width << level for level in reversed(range(doublings))]


def upward(latent: int, channels: int, side: int, width: int) -> nn.Sequential:
    """Latents (n, latent, 1, 1) to images (n, channels, side, side) in [-1, 1]."""
    base, widths = plan(side, width)
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent, widths[0], base, bias=False)]
    for before, after in pairwise(widths):
        layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
    layers += [nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def downward(outputs: int, channels: int, side: int, width: int) -> nn.Sequential:
    """Images (n, channels, side, side) to (n, outputs, 1, 1): the mirror image of `upward`."""
    base, widths = plan(side, width)
    widths = widths[::-1]
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], 4, stride=2, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(widths[-1], outputs, base)]
    return nn.Sequential(*layers)
