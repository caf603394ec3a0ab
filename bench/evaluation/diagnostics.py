"""What a model with an energy tells of itself: the gap, the gradient along its chain, and what it finds unlikely."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench import data as datasets
from bench.contract.images import from_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation.entries import entry
from bench.metrics.auroc import auroc

NOISE = "noise"
PROFILED = 64  # chains whose energy and gradient are averaged
MATCHED = 512  # images of each side of the moment mismatch, at most


def outside(
    names: Sequence[str], root: Path, image_shape: tuple[int, int, int], n: int, *, own: str, progress: bool
) -> dict[str, Tensor]:
    """Up to `n` images of each named data set, uint8 (m, C, H, W) of `image_shape`: grey, coloured and resized to it.

    "noise" is uniform. The data set `own` itself and one that is not there are left out, with a line on stderr.
    Raises UserError: a name that no data set has.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        if name == NOISE:
            found[NOISE] = noise(n, image_shape)
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
        if name != NOISE:
            datasets.label(name)


def noise(n: int, image_shape: tuple[int, int, int]) -> Tensor:
    """Uniform noise, uint8 (n, C, H, W); the same images for all models."""
    generator = seeded("uniform noise", *image_shape)
    return torch.randint(256, (n, *image_shape), generator=generator, dtype=torch.uint8)


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
    train: Tensor | None = None,
    long: bool = True,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries and curves of the group "diagnostics"; both empty for a model that has neither energy nor profile.

    `held_out` are uint8 images (n, C, H, W), `others` sets of the same shape to tell them from, `train` those learned.
    With `long`, samplers are also followed far beyond their own length, for further curves.
    """
    entries: list[dict[str, Any]] = []
    curves = model.profile(PROFILED, seeded(seed, "profile", device=model.device))
    real = _unlikelihood(model, held_out)
    if real is not None:
        entries += [_gap(model, real, min(samples, len(real)), seed)]
    entries += [_mean_before_mark(one) for one in curves if one["name"] == "gradient norm by step"]
    if train is not None:
        entries += _moments(model, train, min(samples, MATCHED, len(train) // 2), seed)
    if real is not None:
        entries += [
            entry(
                f"OOD AUROC ({name})",
                f"OOD AUROC ({name})",
                "diagnostics",
                auroc(-real, -unlikely),
                "higher",
                note=f"{len(real)} held-out images against {len(unlikely)} of {name}, by {model.unlikelihood_name}",
            )
            for name, images in others.items()
            if (unlikely := _unlikelihood(model, images)) is not None
        ]
    if long:
        curves += model.long_run(seeded(seed, "long run", device=model.device))
    return entries, curves


def _gap(model: GenerativeModel, real: Tensor, n: int, seed: int) -> dict[str, Any]:
    blocks = in_blocks(model.sample, n, seed, "sample", device=model.device)
    made = torch.cat([unlikely for block in blocks if (unlikely := model.unlikelihood(block)) is not None]).cpu()
    name = f"{model.unlikelihood_name} gap"
    note = f"mean {model.unlikelihood_name} of {n} samples less that of {len(real)} held-out images"
    return entry(name, name, "diagnostics", float(made.double().mean() - real.double().mean()), "none", note=note)


def _moments(model: GenerativeModel, train: Tensor, n: int, seed: int) -> list[dict[str, Any]]:
    """Whether learning has reached its fixed point: of n samples against n training images, with its floor.

    The images are without the noise that learning adds to them, which the mismatch hardly feels (docs/chain.md).
    """
    first, second = (from_uint8(part).to(model.device) for part in (train[:n], train[n : 2 * n]))
    if n < 1 or (floor := model.moment_mismatch(first, second)) is None:
        return []
    made = torch.cat(list(in_blocks(model.sample, n, seed, "sample", device=model.device)))
    name, of = "moment mismatch", f"{n} training images against {n} samples"
    note = f"distance of the mean weight gradients over their norm, {of}; two halves of the images: {floor:.3g}"
    return [entry(name, name, "diagnostics", model.moment_mismatch(first, made), "none", note=note)]


def _unlikelihood(model: GenerativeModel, images: Tensor) -> Tensor | None:
    """Of uint8 images (n, C, H, W) -> (n,), CPU."""
    found = [model.unlikelihood(from_uint8(block).to(model.device)) for block in images.split(BLOCK)]
    return torch.cat([one.cpu() for one in found if one is not None]) if found[0] is not None else None


def _mean_before_mark(norms: dict[str, Any]) -> dict[str, Any]:
    """The gradient norm over the steps of one sample, out of its curve."""
    own = [y for x, y in zip(norms["x"], norms["y"], strict=True) if norms["mark"] is None or x < norms["mark"]]
    note = f"mean over {len(own)} steps of {PROFILED} chains"
    return entry("gradient norm", "gradient norm", "diagnostics", sum(own) / len(own), "none", note=note)
