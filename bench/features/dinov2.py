"""DINOv2, a vision transformer trained without labels; a Frechet distance of its features is called FD-DINOv2.

Source: Oquab et al. 2024 (arXiv 2304.07193); the distance is that of Stein et al. 2023 (arXiv 2306.04675). Input and
features are those of torch-fidelity's `dinov2-vit-*-14`. torch-fidelity fetches the network's code and runs it, so the
network itself is written here, in the layout of the published weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.features.network import NetworkExtractor, chunk_size, known_layer, only_side
from bench.features.official import dinov2 as official
from bench.features.scaling import scaled
from bench.features.weights import chosen_file, mismatch, read_state_dict

SIDE, PATCH = 224, 14
TRAINED = 518  # side of the images whose patches the published position embedding is for
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
EPSILON = 1e-6  # of every layer norm
TITLES = {"FD": "FD-DINOv2"}


@dataclass(frozen=True)
class DINOv2Size:
    """What tells the four networks apart."""

    width: int
    depth: int  # blocks
    heads: int
    gated: bool = False  # SwiGLU instead of an MLP in every block


SIZES = {
    "s": DINOv2Size(384, 12, 6),
    "b": DINOv2Size(768, 12, 12),
    "l": DINOv2Size(1024, 24, 16),
    "g": DINOv2Size(1536, 40, 24, gated=True),
}


class DinoV2(nn.Module):
    """Uint8 (n, 3, H, W) -> the normed class token (n, width) and logits (n, 0).

    Modules and parameters are named as in the published files; `mask_token` is only used in training.
    """

    def __init__(self, size: DINOv2Size):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, size.width, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.mask_token = nn.Parameter(torch.zeros(1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (TRAINED // PATCH) ** 2, size.width))
        self.blocks = nn.Sequential(*(_Block(size) for _ in range(size.depth)))
        self.norm = nn.LayerNorm(size.width, EPSILON)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.patch_embed.proj(scaled(images, SIDE, MEAN, DEVIATION)).flatten(2).mT
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], 1) + self.pos_embed
        x = self.norm(self.blocks(x)[:, 0])
        return x, x.new_zeros(len(x), 0)


class _Block(nn.Module):
    def __init__(self, size: DINOv2Size):
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, EPSILON)
        self.attn = _Attention(size)
        self.ls1 = _Scale(size)
        self.norm2 = nn.LayerNorm(size.width, EPSILON)
        self.mlp = (_Gated if size.gated else _Mlp)(size)
        self.ls2 = _Scale(size)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, size: DINOv2Size):
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class _Scale(nn.Module):
    """LayerScale: Touvron et al. 2021 (arXiv 2103.17239)."""

    def __init__(self, size: DINOv2Size):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size.width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Mlp(nn.Module):
    def __init__(self, size: DINOv2Size):
        super().__init__()
        self.fc1 = nn.Linear(size.width, 4 * size.width)
        self.fc2 = nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Gated(nn.Module):
    """SwiGLU: Shazeer 2020 (arXiv 2002.05202); two thirds of an MLP's hidden width, in eights."""

    def __init__(self, size: DINOv2Size):
        super().__init__()
        hidden = (4 * size.width * 2 // 3 + 7) // 8 * 8
        self.w12 = nn.Linear(size.width, 2 * hidden)
        self.w3 = nn.Linear(hidden, size.width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, 2)
        return self.w3(F.silu(gate) * value)


def build(
    size: str, device: torch.device, weights: Path | None, layer: str | None = None, side: int | None = None
) -> NetworkExtractor:
    """The extractor of that size on `device`, its weights from the file `weights`, None for the official ones.

    Other weights than the official ones are accepted; the name then carries their hash, as "dinov2-vit-s-14:1a2b3c4d",
    and no score of theirs is called FD-DINOv2. Raises UserError: no weights, or a wrong file; any layer, since there
    is only the one; a side other than 224.
    """
    name = f"dinov2-vit-{size}-14"
    if layer is not None:
        known_layer(name, layer, ())
    only_side(name, side, SIDE)
    network, sha256 = load(size, chosen_file(weights, official(size)))
    published = sha256 == official(size).sha256
    return NetworkExtractor(
        name=name if published else f"{name}:{sha256[:8]}",
        side=SIDE,
        width=SIZES[size].width,
        weights_hash=sha256,
        network=network,
        device=device,
        chunk=chunk_size(device) // 4,  # the largest networks hold four times as much of an image as Inception
        titles=TITLES if published else {},
    )


build_s, build_b, build_l, build_g = (partial(build, size) for size in "sblg")


def load(size: str, weights: Path) -> tuple[DinoV2, str]:
    """The network with the weights in that file, for images of 224 pixels, and the file's SHA-256."""
    remedy = official(size).remedy
    state, sha256 = read_state_dict(weights, remedy=remedy)
    with torch.device("meta"):  # nothing is drawn, and the largest network is not held twice
        network = DinoV2(SIZES[size])
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise mismatch(error, weights, official(size).network, remedy=remedy) from error
    network.float()
    network.pos_embed = nn.Parameter(resized(network.pos_embed.detach(), SIDE // PATCH))
    return network, sha256


def resized(embedding: Tensor, grid: int) -> Tensor:
    """The position embedding (1, 1 + m * m, width) of m x m patches for `grid` x `grid`: (1, 1 + grid * grid, width).

    Bicubic. The scale is (grid + 0.1) / m, as in the published network: the 0.1 keeps rounding from losing a patch,
    and moves every position a little.
    """
    token, patches = embedding[:, :1], embedding[:, 1:]
    m = math.isqrt(patches.shape[1])
    square = patches.mT.unflatten(2, (m, m))
    square = F.interpolate(square, scale_factor=(grid + 0.1) / m, mode="bicubic")
    return torch.cat([token, square.flatten(2).mT], 1)
