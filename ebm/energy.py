"""Energy nets: images (n, C, S, S) to energies (n,). Low energy means a likely image; the paper's f is -E.

Two nets of matched size: the paper's plain convolutional net and a residual one. Neither has batch norm, since an
energy must be a function of its own image alone, nor biasless tricks: what the sampler sees is plain autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

SIDES = (8, 16, 28, 32, 64, 128)  # of images
COARSE_SIDES = (4, 7, 14)  # that the coarse levels of a cascade have besides
LEAK = 0.2  # slope of LeakyReLU below zero (Nijkamp et al. 2019)

# name -> (layer, whether it is piecewise linear)
ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    # in place: the derivative is read off the output's sign, so the input need not be kept
    "leaky_relu": (lambda: nn.LeakyReLU(LEAK, inplace=True), True),
    "silu": (nn.SiLU, False),
    "softplus": (nn.Softplus, False),
    "gelu": (nn.GELU, False),
}


def padded_side(side: int) -> int:
    """The side 4 * 2^k that an image of `side` is padded to (28 becomes 32); ValueError for other sides."""
    if side not in SIDES + COARSE_SIDES:
        raise ValueError(f"image side {side} is not supported: choose an image size of {', '.join(map(str, SIDES))}")
    return {7: 8, 14: 16, 28: 32}.get(side, side)


class EnergyNet(nn.Module):
    """The common ending, a 4x4 feature map to one number, for images (n, channels, side, side).

    `piecewise_linear` is True when E is piecewise linear in the image, so that its Hessian is zero almost everywhere.
    """

    def __init__(self, features: nn.Sequential, width: int, activation: str, *, channels: int, side: int):
        super().__init__()
        self.features, self.channels, self.side = features, channels, side
        self.head = nn.Conv2d(width, 1, 4)
        self.piecewise_linear = ACTIVATIONS[activation][1]

    def forward(self, x: Tensor) -> Tensor:
        """Energies (n,) of images (n, C, S, S)."""
        return self.of_features(self.features(x))

    def of_features(self, h: Tensor) -> Tensor:
        """Energies (n,) of what enters the last, linear layer (n, width, 4, 4)."""
        return -self.head(h).flatten()


def first_layer(channels: int, n_f: int, side: int) -> nn.Conv2d:
    """3x3, stride 1; its zero padding also grows 28 to 32 and 14 to 16, so that no copy of the image is made.

    A kernel of 4x4 grows 7 to 8: an even kernel is what grows a side by an odd number with equal padding all around.
    """
    missing = padded_side(side) - side
    return nn.Conv2d(channels, n_f, 3 + missing % 2, padding=1 + (missing + 1) // 2)


def plain_net(channels: int, side: int, n_f: int, activation: str = "leaky_relu") -> EnergyNet:
    """The paper's net: 3x3 to n_f, then 4x4 stride 2 doubling the channels until 4x4 remain, then 4x4 to one number.

    Nijkamp et al. 2019, arXiv 1904.09770, appendix. Sides as in `SIDES` and `COARSE_SIDES`; side 4 has no
    strided layer.
    """
    make = ACTIVATIONS[activation][0]
    layers: list[nn.Module] = [first_layer(channels, n_f, side), make()]
    width, size = n_f, padded_side(side)
    while size > 4:
        layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), make()]
        width, size = 2 * width, size // 2
    return EnergyNet(nn.Sequential(*layers), width, activation, channels=channels, side=side)


class ResidualBlock(nn.Module):
    """Pre-activation block that halves the side: avgpool(x * W_s + conv(act(conv(act(x))))) (He et al. 2016)."""

    def __init__(self, width: int, activation: str):
        super().__init__()
        make = ACTIVATIONS[activation][0]
        # the inner width that gives the block the parameters of the plain net's strided layer, 32 width^2
        inner = round((32 - 2) * width / 27)
        # not in place: the block's input is read by both branches
        self.first = nn.LeakyReLU(LEAK) if activation == "leaky_relu" else make()
        self.conv1 = nn.Conv2d(width, inner, 3, padding=1)
        self.second = make()
        self.conv2 = nn.Conv2d(inner, 2 * width, 3, padding=1)
        self.skip = nn.Conv2d(width, 2 * width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.conv1(self.first(x)))
        residual = F.conv2d(h, pooled_kernel(self.conv2.weight), self.conv2.bias, stride=2, padding=1)
        return self.skip(F.avg_pool2d(x, 2)) + residual  # pooling first: the 1x1 convolution commutes with it


def pooled_kernel(weight: Tensor) -> Tensor:
    """The 4x4 kernel that, at stride 2, does what a 3x3 `weight` (C', C, 3, 3) and an average over 2x2 do in turn.

    Exact, with 16 products an output in place of 36.
    """
    return F.avg_pool2d(F.pad(weight, (1, 1, 1, 1)), 2, stride=1)


def residual_net(channels: int, side: int, n_f: int, activation: str = "leaky_relu") -> EnergyNet:
    """A residual net whose parameter count matches `plain_net` of the same arguments within 3 %."""
    layers: list[nn.Module] = [first_layer(channels, n_f, side)]
    width, size = n_f, padded_side(side)
    while size > 4:
        layers.append(ResidualBlock(width, activation))
        width, size = 2 * width, size // 2
    layers.append(ACTIVATIONS[activation][0]())
    return EnergyNet(nn.Sequential(*layers), width, activation, channels=channels, side=side)


ENERGY_NETS: dict[str, Callable[..., EnergyNet]] = {"plain": plain_net, "residual": residual_net}
