"""A network as a feature extractor: grey made colour, bounded memory, batch norm folded into the convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.errors import UserError
from bench.features.extraction import check_images


@dataclass
class NetworkExtractor:
    """A `FeatureExtractor` around a network of uint8 (n, 3, H, W) -> (features (n, width), logits (n, classes))."""

    name: str
    side: int
    width: int
    weights_hash: str
    network: nn.Module = field(repr=False)
    device: torch.device
    chunk: int  # images that go through the network at once: bounds the memory, whatever the caller's batch
    titles: dict[str, str] = field(default_factory=dict)  # as `FeatureExtractor` has it
    narrower: tuple[str, ...] = ()  # choices for `bench.features.resolve` that give fewer features, the widest first

    def __post_init__(self) -> None:
        self.network = self.network.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)

    @property
    def label(self) -> str:
        """Extractor and input size."""
        return f"{self.name}, {self.side} px"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 images (n, C, H, W), C in {1, 3}, on any device -> float32 (n, width) and (n, classes), CPU."""
        check_images(images)
        parts = [self.network(_colour(chunk.to(self.device))) for chunk in images.split(self.chunk)]
        features, logits = zip(*parts, strict=True)
        return torch.cat(features).float().cpu(), torch.cat(logits).float().cpu()


def chunk_size(device: torch.device) -> int:
    """Images at once: memory bounds it on a CPU (under 1 GB), launch overhead asks for more on a GPU."""
    return 64 if device.type == "cpu" else 256


def known_layer(extractor: str, layer: str, layers: Iterable[str]) -> str:
    """`layer` if it is one of `layers`; UserError otherwise."""
    if layer not in layers:
        choices = ", ".join(f"{extractor}/{name}" for name in layers)
        others = f", or one of {choices}" if choices else ", which has no other layers"
        raise UserError(f"unknown layer {layer!r} of the extractor {extractor}: take {extractor}{others}")
    return layer


def only_side(extractor: str, side: int | None, own: int) -> int:
    """The side of an extractor that takes its network's `own` alone; UserError for another."""
    if side not in (None, own):
        raise UserError(f"input side {side} of the extractor {extractor}: it takes {own} only; drop the @{side}")
    return own


def fold_batch_norm(module: nn.Module, convolution: str, norm: str) -> None:
    """Fold the batch norm `module.norm` into `module.convolution`, in place: half the passes over memory.

    The outputs equal the unfolded ones but for float rounding. Both must be in evaluation mode.
    """
    setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
    setattr(module, norm, nn.Identity())


def _colour(images: Tensor) -> Tensor:
    """(n, C, H, W), C in {1, 3} -> (n, 3, H, W): grey images are repeated, the only place where that happens."""
    return images.expand(-1, 3, -1, -1)
