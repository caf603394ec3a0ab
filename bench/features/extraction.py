"""What an extractor is, what it gives, and the one pass over the images that feeds every metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from bench.errors import UserError
from bench.machine.runtime import is_out_of_memory


@dataclass(frozen=True)
class Features:
    """What the metrics see of a set of n images."""

    features: Tensor  # float32 (n, width), CPU
    logits: Tensor  # float32 (n, classes), CPU: for the Inception Score; (n, 0) of a network that classifies nothing

    def __len__(self) -> int:
        return len(self.features)

    def first(self, n: int) -> Features:
        """Those of the first n images."""
        return Features(self.features[:n], self.logits[:n])


class FeatureExtractor(Protocol):
    """A fixed network that turns images into features, with what a reader needs to compare two scores.

    Optional: `chunk` (int), images that go through the network at once, to which `extract` regroups its batches;
    `narrower` (tuple of str), the choices of `resolve` that give fewer features, for a user with too few images;
    `titles` (dict of str to str), what the literature calls a score of these features: {"FD": "FD-DINOv2"}. A key is
    the name of a metric in `bench.metrics.METRICS`; a metric that is not in it has no other name.
    """

    name: str  # "inception", with the layer where it is not the last: "inception/768"
    side: int  # pixels: images are resized to side x side inside
    width: int  # features per image
    weights_hash: str  # SHA-256 of the weights file, hexadecimal

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 images (n, C, H, W), C in {1, 3}, on any device, to features (n, width) and logits (n, classes).

        An extractor that classifies nothing gives logits (n, 0), and has no Inception Score.
        """
        ...

    @property
    def label(self) -> str:
        """Extractor and input size: "inception, 299 px"."""
        ...


def extract(
    extractor: FeatureExtractor,
    batches: Iterable[Tensor],  # uint8 (n, C, H, W), C in {1, 3}
    *,
    progress: str | None = None,  # the progress bar's title; None: no bar
    total: int | None = None,  # images, for the bar
) -> Features:
    """One pass over `batches` that feeds every metric; how the images are split into batches changes only rounding.

    Batches are joined to the extractor's `chunk` where it has one: a GPU is not fed in the small blocks of a sampler.
    One for which there is not enough memory is halved.
    Raises ValueError: no images, images of the wrong type or shape, an extractor that breaks its protocol;
    UserError: features that are not finite, with the index of the first such image.
    """
    features: list[Tensor] = []
    logits: list[Tensor] = []
    done = 0
    with tqdm(total=total, desc=progress, unit=" images", disable=progress is None, leave=False) as bar:
        for images in _regroup(batches, getattr(extractor, "chunk", None)):
            wide, classes = (t.detach().float().cpu() for t in _in_memory(extractor, images))
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


def _in_memory(extractor: FeatureExtractor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of `images`, by halves where all at once do not fit into the memory."""
    try:
        return extractor(images)
    except (RuntimeError, MemoryError) as error:
        if len(images) < 2 or not is_out_of_memory(error):
            raise
    first, second = (_in_memory(extractor, half) for half in images.chunk(2))
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])


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


def _regroup(batches: Iterable[Tensor], size: int | None) -> Iterator[Tensor]:
    """The same images in the same order, `size` at a time; None leaves the batches as they come.

    A group ends early where the images' shape or device changes. At most `size` images and one batch are held.
    """
    held: list[Tensor] = []
    count = 0
    for images in batches:
        check_images(images)
        if size is None:
            yield images
            continue
        if held and (images.shape[1:] != held[0].shape[1:] or images.device != held[0].device):
            yield torch.cat(held)
            held, count = [], 0
        held.append(images)
        count += len(images)
        if count >= size:
            joined = torch.cat(held) if len(held) > 1 else images
            whole = count - count % size
            yield from joined[:whole].split(size)
            held, count = ([joined[whole:]] if count > whole else []), count - whole
    if count:
        yield torch.cat(held)
