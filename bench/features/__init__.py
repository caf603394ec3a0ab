"""Feature extractors: a table of names, the small protocol they keep, and the one pass that feeds every metric.

A new extractor is one file with a function `build(device, weights)` and one line in `EXTRACTORS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from bench.errors import UserError


@dataclass(frozen=True)
class Features:
    """What the metrics see of a set of n images."""

    features: Tensor  # float32 (n, width), CPU
    logits: Tensor  # float32 (n, classes), CPU: for the Inception Score

    def __len__(self) -> int:
        return len(self.features)


class FeatureExtractor(Protocol):
    """A fixed network that turns images into features, with what a reader needs to compare two scores."""

    name: str  # "inception"
    side: int  # pixels: images are resized to side x side inside
    width: int  # features per image
    weights_hash: str  # SHA-256 of the weights file, hexadecimal

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 images (n, C, H, W), C in {1, 3}, on any device, to features (n, width) and logits (n, classes)."""
        ...

    @property
    def label(self) -> str:
        """Extractor and input size: "inception, 299 px"."""
        ...


EXTRACTORS: dict[str, str] = {  # name -> "module:function"; function(device, weights: Path | None) -> FeatureExtractor
    "inception": "bench.features.inception:build",
    "efficientnet-lite0": "bench.features.efficientnet_lite0:build",
}


def resolve(choice: str, *, device: torch.device, inception_weights: Path | None = None) -> FeatureExtractor:
    """The extractor of that name, loaded and ready; "auto" says in one line on stderr which it took, and why.

    `auto` takes Inception when its weights are given, are in torch's hub folder or can be fetched, and
    EfficientNet-Lite0 otherwise. Weights are read here, so that a wrong file fails before any training.
    Raises UserError: an unknown name; weights that are missing, damaged or of another network.
    """
    if choice != "auto" and choice not in EXTRACTORS:
        raise UserError(f"unknown feature extractor {choice!r}: take one of {', '.join(['auto', *EXTRACTORS])}")
    if inception_weights is not None and choice not in ("auto", "inception"):
        raise UserError(
            f"--inception-weights {inception_weights} does not go with the extractor {choice!r}: "
            "drop it, or take inception"
        )
    if choice == "auto":
        return _automatic(device, inception_weights)
    return _build(choice, device, inception_weights)


def extract(
    extractor: FeatureExtractor,
    batches: Iterable[Tensor],  # uint8 (n, C, H, W), C in {1, 3}
    *,
    progress: str | None = None,  # the progress bar's title; None: no bar
    total: int | None = None,  # images, for the bar
) -> Features:
    """One pass over `batches` that feeds every metric; how the images are split into batches changes only rounding.

    Raises ValueError: no images, images of the wrong type or shape, an extractor that breaks its protocol;
    UserError: features that are not finite, with the index of the first such image.
    """
    features: list[Tensor] = []
    logits: list[Tensor] = []
    done = 0
    with tqdm(total=total, desc=progress, unit=" images", disable=progress is None, leave=False) as bar:
        for images in batches:
            check_images(images)
            wide, classes = (t.detach().float().cpu() for t in extractor(images))
            if wide.shape != (len(images), extractor.width) or classes.ndim != 2 or len(classes) != len(images):
                raise ValueError(
                    f"{extractor.name} gave features {tuple(wide.shape)} and logits {tuple(classes.shape)} for "
                    f"{len(images)} images: they must be (n, {extractor.width}) and (n, classes)"
                )
            require_finite(wide, classes, first=done, what=f"features of {extractor.name}")
            features.append(wide)
            logits.append(classes)
            done += len(images)
            bar.update(len(images))
    if not done:
        raise ValueError("there are no images to extract features from")
    return Features(torch.cat(features), torch.cat(logits))


def check_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is uint8 (n, C, H, W) with C in {1, 3}."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {tuple(images.shape)}: extractors take uint8 (n, C, H, W) with C 1 or 3"
        )


def require_finite(*tensors: Tensor, first: int = 0, what: str = "features") -> None:
    """Raise UserError naming the first row, counted from `first`, that holds a value that is not finite."""
    bad = torch.stack([~torch.isfinite(t).flatten(1).all(1) for t in tensors]).any(0).nonzero()
    if len(bad):
        raise UserError(
            f"{what} are not finite for image {first + int(bad[0])} ({len(bad)} such images): "
            "check that image, the extractor's weights and its precision"
        )


def _build(name: str, device: torch.device, weights: Path | None) -> FeatureExtractor:
    module, function = EXTRACTORS[name].split(":")
    return getattr(importlib.import_module(module), function)(device, weights)


def _automatic(device: torch.device, inception_weights: Path | None) -> FeatureExtractor:
    if inception_weights is not None:
        extractor = _build("inception", device, inception_weights)
        return _announce(extractor, f"its weights were given ({inception_weights})")
    from bench.features.weights import UnavailableError, inception_file

    try:
        path, where = inception_file()
    except UnavailableError as absent:
        return _announce(_build("efficientnet-lite0", device, None), f"no Inception weights ({absent})")
    return _announce(_build("inception", device, path), where)


def _announce(extractor: FeatureExtractor, why: str) -> FeatureExtractor:
    print(f"features: {extractor.label}: {why}", file=sys.stderr)
    return extractor
