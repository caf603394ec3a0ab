"""The image half of CLIP: features for CMMD, a maximum mean discrepancy that assumes no normal distribution.

Source: Radford et al. 2021 (arXiv 2103.00020), through torch-fidelity's `clip-*`; CMMD is that of Jayasumana et al.
2024 (arXiv 2401.09603).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_fidelity.feature_extractor_clip import CLIPVisual

from bench.features.network import NetworkExtractor, chunk_size, known_layer, only_side
from bench.features.official import clip as official
from bench.features.scaling import scaled
from bench.features.weights import chosen_file, mismatch, read_state_dict

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's own images
UNIT = "unit"  # the layer whose features have length 1
TITLES = {"MMD": "CMMD"}  # defined on features of length 1


@dataclass(frozen=True)
class CLIPSize:
    """What tells the networks apart, as torch-fidelity's class takes it."""

    embedding: int  # features
    side: int
    layers: int | tuple[int, int, int, int]  # blocks of a transformer, or of the four stages of a ResNet
    width: int
    patch: int = 0  # side of a transformer's patch


SIZES = {
    "clip-vit-b-32": CLIPSize(512, 224, 12, 768, 32),
    "clip-vit-b-16": CLIPSize(512, 224, 12, 768, 16),
    "clip-vit-l-14": CLIPSize(768, 224, 24, 1024, 14),
    "clip-vit-l-14-336px": CLIPSize(768, 336, 24, 1024, 14),
    "clip-rn50": CLIPSize(1024, 224, (3, 4, 6, 3), 64),
    "clip-rn101": CLIPSize(512, 224, (3, 4, 23, 3), 64),
    "clip-rn50x4": CLIPSize(640, 288, (4, 6, 10, 6), 80),
    "clip-rn50x16": CLIPSize(768, 384, (6, 8, 18, 8), 96),
    "clip-rn50x64": CLIPSize(1024, 448, (3, 15, 36, 10), 128),
}


class Clip(nn.Module):
    """Uint8 (n, 3, H, W) -> image embeddings (n, width), of length 1 if `unit`, and logits (n, 0)."""

    def __init__(self, visual: nn.Module, side: int, unit: bool):
        super().__init__()
        self.visual, self.side, self.unit = visual, side, unit

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.visual(scaled(images, self.side, MEAN, DEVIATION))
        return F.normalize(x) if self.unit else x, x.new_zeros(len(x), 0)


def build(
    name: str, device: torch.device, weights: Path | None, layer: str | None = None, side: int | None = None
) -> NetworkExtractor:
    """The extractor `name` on `device`, its weights from the file `weights`, None for the official ones.

    `layer` None gives the embeddings as torch-fidelity does; "unit" divides each by its length, as CMMD has it. Other
    weights than the official ones are accepted; the name then carries their hash, as "clip-vit-b-32:1a2b3c4d", and no
    score of theirs is called CMMD. Raises UserError: no weights, or a wrong file; an unknown layer; a side other than
    the network's own.
    """
    size = SIZES[name]
    if layer is not None:
        known_layer(name, layer, (UNIT,))
    only_side(name, side, size.side)
    visual, sha256 = load(name, chosen_file(weights, official(name)))
    published = sha256 == official(name).sha256
    stem = name if published else f"{name}:{sha256[:8]}"
    return NetworkExtractor(
        name=stem if layer is None else f"{stem}/{layer}",
        side=size.side,
        width=size.embedding,
        weights_hash=sha256,
        network=Clip(visual, size.side, unit=layer == UNIT),
        device=device,
        chunk=chunk_size(device) // 4,  # the largest networks hold four times as much of an image as Inception
        titles=TITLES if published and layer == UNIT else {},
    )


build_vit_b_32, build_vit_b_16 = partial(build, "clip-vit-b-32"), partial(build, "clip-vit-b-16")
build_vit_l_14, build_vit_l_14_336px = partial(build, "clip-vit-l-14"), partial(build, "clip-vit-l-14-336px")
build_rn50, build_rn101 = partial(build, "clip-rn50"), partial(build, "clip-rn101")
build_rn50x4, build_rn50x16, build_rn50x64 = (partial(build, f"clip-rn50x{n}") for n in (4, 16, 64))


def load(name: str, weights: Path) -> tuple[nn.Module, str]:
    """The image half with the weights in that file, and the file's SHA-256; the text half's weights are passed over."""
    remedy, size = official(name).remedy, SIZES[name]
    state, sha256 = read_state_dict(weights, remedy=remedy)
    with torch.device("meta"):  # nothing is drawn, and the network is not held twice
        network = CLIPVisual(size.embedding, size.side, size.layers, size.width, size.patch)
    try:
        network.load_state_dict({key: one for key, one in state.items() if key.startswith("visual.")}, assign=True)
    except RuntimeError as error:
        raise mismatch(error, weights, official(name).network, remedy=remedy) from error
    return network.visual.float().eval(), sha256
