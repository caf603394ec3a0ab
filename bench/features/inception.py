"""Inception-v3 with the weights of 2015-12-05, through torch-fidelity: the one extractor whose distance is called FID.

Source: Szegedy et al. 2016 (arXiv 1512.00567), as converted from TensorFlow by torch-fidelity (`inception-v3-compat`).
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from bench.features.network import NetworkExtractor, chunk_size, fold_batch_norm, known_layer, only_side
from bench.features.weights import OFFICIAL_INCEPTION, chosen_file, mismatch, read_state_dict
from bench.features.weights import inception as official

NAME = "inception"
SIDE = FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE
WIDTH = 2048
LAYERS = ("768", "192", "64")  # torch-fidelity's names, which are the widths; average-pooled


def build(
    device: torch.device, weights: Path | None, layer: str | None = None, side: int | None = None
) -> NetworkExtractor:
    """The extractor on `device`, its weights from the file `weights`, or the official ones from torch's hub folder.

    `layer` is one of `LAYERS`, None for the 2048 features before the classifier. Other weights than the official ones
    are accepted, but the name then carries their hash: "inception:1a2b3c4d", so that no score of theirs is called FID.
    Raises UserError: no weights, or a wrong file; an unknown layer; a side other than the network's own 299.
    """
    if layer is not None:
        known_layer(NAME, layer, LAYERS)
    only_side(NAME, side, SIDE)
    network, sha256 = load(chosen_file(weights, official()), layer)
    fold(network)
    name = NAME if sha256.startswith(OFFICIAL_INCEPTION) else f"{NAME}:{sha256[:8]}"
    width = WIDTH if layer is None else int(layer)
    return NetworkExtractor(
        name=name if layer is None else f"{name}/{layer}",
        side=SIDE,
        width=width,
        weights_hash=sha256,
        network=network,
        device=device,
        chunk=chunk_size(device),
        narrower=tuple(f"{NAME}/{other}" for other in LAYERS if int(other) < width),
    )


def load(weights: Path, layer: str | None = None) -> tuple[nn.Module, str]:
    """The network as torch-fidelity runs it, uint8 (n, 3, H, W) -> (features, unbiased logits); and its hash.

    The features are those of `layer`, None for the last 2048; the logits are the whole network's either way.
    """
    state, sha256 = read_state_dict(weights, remedy=official().remedy)
    # torch-fidelity reads its weights file in the way that can run code: it gets a clean copy from memory
    clean = io.BytesIO()
    torch.save(state, clean)
    clean.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", [layer or str(WIDTH), "logits_unbiased"], feature_extractor_weights_path=clean
            )
    except RuntimeError as error:
        raise mismatch(error, weights, "Inception-v3", remedy=official().remedy) from error
    return network, sha256


def fold(network: nn.Module) -> None:
    """Fold every batch norm of `network` into its convolution, in place."""
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            fold_batch_norm(module, "conv", "bn")
