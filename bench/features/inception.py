"""Inception-v3 with the weights of 2015-12-05, through torch-fidelity: the one extractor whose distance is called FID.

Source: Szegedy et al. 2016 (arXiv 1512.00567), as converted from TensorFlow by torch-fidelity (`inception-v3-compat`).
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from bench.errors import UserError
from bench.features.network import NetworkExtractor, chunk_size, fold_batch_norm
from bench.features.weights import (
    OFFICIAL_INCEPTION,
    UnavailableError,
    inception_file,
    inception_remedy,
    mismatch,
    read_state_dict,
)


def build(device: torch.device, weights: Path | None) -> NetworkExtractor:
    """The extractor on `device`, its weights from the file `weights`, or the official ones from torch's hub folder.

    Other weights than the official ones are accepted, but the name then carries their hash: "inception:1a2b3c4d",
    so that no score of theirs is called FID. Raises UserError: no weights, or a wrong file.
    """
    if weights is None:
        try:
            weights, _ = inception_file()
        except UnavailableError as absent:
            raise UserError(f"no Inception weights ({absent}): {inception_remedy()}") from absent
    network, sha256 = load(weights)
    fold(network)
    official = sha256.startswith(OFFICIAL_INCEPTION)
    return NetworkExtractor(
        name="inception" if official else f"inception:{sha256[:8]}",
        side=FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE,
        width=2048,
        weights_hash=sha256,
        network=network,
        device=device,
        chunk=chunk_size(device),
    )


def load(weights: Path) -> tuple[nn.Module, str]:
    """The network as torch-fidelity runs it, uint8 (n, 3, H, W) -> (2048 features, unbiased logits); and its hash."""
    state, sha256 = read_state_dict(weights, remedy=inception_remedy())
    # torch-fidelity reads its weights file in the way that can run code: it gets a clean copy from memory
    clean = io.BytesIO()
    torch.save(state, clean)
    clean.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=clean
            )
    except RuntimeError as error:
        raise mismatch(error, weights, "Inception-v3", remedy=inception_remedy()) from error
    return network, sha256


def fold(network: nn.Module) -> None:
    """Fold every batch norm of `network` into its convolution, in place."""
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            fold_batch_norm(module, "conv", "bn")
