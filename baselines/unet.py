"""A small U-Net: images (n, C, S, S) and times (n,) to images of the same shape.

Ronneberger et al. 2015, arXiv 1505.04597, with the residual blocks, time embedding and nearest-neighbour upsampling of
Ho et al. 2020, arXiv 2006.11239, and the adaptive group normalization of Dhariwal and Nichol 2021, arXiv 2105.05233
(scale and shift by time). No attention and no dropout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.nets import check_side

COARSEST = 4  # the least side of a level
GROUPS = 8  # of group norm, at most


def level_sides(side: int, levels: int) -> list[int]:
    """The sides of at most `levels` resolutions, finest first: halved while the half is whole and at least 4."""
    sides = [side]
    while len(sides) < levels and sides[-1] % 2 == 0 and sides[-1] // 2 >= COARSEST:
        sides.append(sides[-1] // 2)
    return sides


class UNet(nn.Module):
    """A velocity field over images with `channels` channels; zero everywhere before its first update.

    The finest level has `width` channels, a multiple of 4, the others twice as many; each has `blocks` residual blocks
    on the way down and as many on the way up. ValueError for a side that is not in `baselines.nets.SIDES`.
    """

    def __init__(self, channels: int, side: int, *, width: int, levels: int, blocks: int):
        super().__init__()
        check_side(side)
        self.width, embedding = width, 4 * width
        widths = [width if level == 0 else 2 * width for level in range(len(level_sides(side, levels)))]
        self.embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        now = width
        for level, here in enumerate(widths):
            if level > 0:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
            self.down.append(nn.ModuleList(UNetBlock(now if k == 0 else here, here, embedding) for k in range(blocks)))
            now = here
        self.middle = UNetBlock(now, now, embedding)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()  # coarsest first
        for level, here in reversed(list(enumerate(widths))):
            self.up.append(
                nn.ModuleList(UNetBlock((now if k == 0 else here) + here, here, embedding) for k in range(blocks))
            )
            now = here
            if level > 0:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
        self.norm = _group_norm(width)
        self.last = _zeroed(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Velocities (n, C, S, S) at `x` (n, C, S, S) and times `t` (n,) in [0, 1]."""
        time = self.embed(time_features(t, self.width))
        h = self.first(x)
        kept: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level > 0:
                h = self.shrink[level - 1](h)
            for block in blocks:
                h = block(h, time)
                kept.append(h)
        h = self.middle(h, time)
        for level, blocks in enumerate(self.up):
            if level > 0:
                h = self.grow[level - 1](F.interpolate(h, scale_factor=2, mode="nearest"))
            for block in blocks:
                h = block(torch.cat([h, kept.pop()], dim=1), time)
        return self.last(F.silu(self.norm(h)))


class UNetBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))) * (1 + scale) + shift)), scale and shift linear in the time embedding.

    The last convolution starts at zero, so that a block is the identity (or a 1x1 convolution) at first.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = _group_norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = _group_norm(outputs), _zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(n, inputs, S, S) and the embedded times (n, embedding) to (n, outputs, S, S)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


def time_features(t: Tensor, width: int) -> Tensor:
    """Cosines and sines (n, width) of 1000 t at width / 2 frequencies, geometric from 1 down to 1e-4 (exclusive).

    Vaswani et al. 2017, arXiv 1706.03762, section 3.5, for times (n,) in [0, 1].
    """
    exponents = torch.arange(width // 2, device=t.device, dtype=t.dtype) / (width // 2)
    angles = 1000 * t[:, None] * torch.exp(-math.log(1e4) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
