"""A model's own diagnostics, and how well its out-of-distribution score tells other images from held-out ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bench import data as datasets
from bench.contract.images import from_uint8
from bench.contract.model import GenerativeModel
from bench.contract.scores import Diagnostics, Score, description
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import corruptions
from bench.metrics.auroc import auroc

MADE: dict[str, Callable[[Tensor], Tensor]] = {  # of the held-out images, uint8 (n, C, H, W), or of their shape alone
    "noise": lambda images: corruptions.noise(len(images), tuple(images.shape[1:])),
    "blends": corruptions.blends,
    "blurred": corruptions.blurred,
    "constants": lambda images: corruptions.constants(len(images), tuple(images.shape[1:])),
}
PROFILED = 64  # samples whose making a model looks at
MATCHED = 512  # images of each side of the moment mismatch, at most


def ood_sets(names: Sequence[str], root: Path, held_out: Tensor, *, own: str, progress: bool) -> dict[str, Tensor]:
    """What `held_out` images, uint8 (n, C, H, W), are to be told from: up to n images of each name, of the same shape.

    A name is one of `MADE` or a data set's, whose images are made grey or coloured and resized. The data set `own`
    itself and one that is not there are left out, with a line on stderr. Raises UserError: a name that no data set has.
    """
    n, image_shape = len(held_out), tuple(held_out.shape[1:])
    found: dict[str, Tensor] = {}
    for name in names:
        if name in MADE:
            found[name] = MADE[name](held_out)
            continue
        label = datasets.label(name)
        try:
            if label == own:
                raise UserError("it is the data set itself")
            images = datasets.load(name, root, DataConfig(max_train=n, held_out=n), progress=progress).held_out
        except UserError as error:
            print(f"{own}: no AUROC against {name}: {error}", file=sys.stderr)
            continue
        found[label] = fitted(images, image_shape)
    return found


def check_names(names: Sequence[str]) -> None:
    """Raise UserError for a name that no data set has."""
    for name in names:
        if name not in MADE:
            datasets.label(name)


def fitted(images: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Uint8 images (n, C', H', W') as (n, C, H, W): channels averaged or repeated, then resized (bilinear)."""
    channels, *side = image_shape
    pixels = images.float()
    if pixels.shape[1] != channels:
        pixels = pixels.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if list(pixels.shape[2:]) != side:
        pixels = functional.interpolate(pixels, size=side, mode="bilinear", antialias=True)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def diagnose(
    model: GenerativeModel,
    held_out: Tensor,
    others: dict[str, Tensor],
    samples: int,
    seed: int,
    *,
    train: Tensor,
    far: bool = True,
) -> Diagnostics:
    """What a model says of its own sampler, and how well its out-of-distribution score tells other images apart.

    `held_out` are uint8 images (n, C, H, W), `others` sets of the same shape to tell them from, `train` those learned.
    With `far`, samplers are also followed beyond their own length, for further curves.
    """
    matched = min(samples, MATCHED, len(train) // 2)

    def made(n: int) -> Tensor:
        return torch.cat(list(in_blocks(model.sample, n, seed, "sample", device=model.device)))

    own = model.diagnose(
        PROFILED,
        seeded(seed, "profile", device=model.device),
        train=from_uint8(train[: 2 * matched]).to(model.device),
        samples=lambda: made(matched),
        far=far,
    )
    real = _ood_scores(model, from_uint8(held_out))
    if real is None:
        return own
    n = min(samples, len(real))
    gap = _ood_scores(model, made(n))
    assert gap is not None  # as for the real images
    name = f"{model.ood_score_name} gap"
    note = f"mean {model.ood_score_name} of {n} samples less that of {len(real)} held-out images"
    scores = [description(name, float(gap.double().mean() - real.double().mean()), note), *own.scores]
    for title, images in others.items():
        unlikely = _ood_scores(model, from_uint8(images))
        assert unlikely is not None
        name = f"OOD AUROC ({title})"
        note = f"{len(real)} held-out images against {len(unlikely)} of {title}, by {model.ood_score_name}"
        scores.append(Score(name, name, "diagnostics", auroc(-real, -unlikely), "higher", note=note))
    return Diagnostics(tuple(scores), own.curves)


def _ood_scores(model: GenerativeModel, images: Tensor) -> Tensor | None:
    """The model's out-of-distribution scores (n,), CPU, of images (n, C, H, W) in [-1, 1]; None if it has none."""
    found = [model.ood_score(block.to(model.device)) for block in images.split(BLOCK)]
    return torch.cat([one.cpu() for one in found if one is not None]) if found[0] is not None else None
