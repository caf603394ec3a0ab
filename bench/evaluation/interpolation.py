"""Paths between images: two kinds of path in the latent space, between two kinds of ends, and what they measure."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Score
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.entries import Real, decoded
from bench.evaluation.pictures import Picture, path_strips
from bench.metrics.paths import midpoint_realism, smoothness

MEASURES = ("length ratio", "largest step", "second difference", "feature length ratio")
REALISM = "midpoint realism"
PATHS = ("prior path", "paper path")
ENDS = ("generated", "real ends")
PICTURES = {("prior path", "generated"): "interpolations", ("prior path", "real ends"): "interpolations-reconstructed"}


def suffix(path: str, ends: str) -> str:
    """What the names of scores along a kind of path between a kind of ends end in; nothing for the main ones."""
    return "".join(f", {part}" for part in (path, ends) if part not in (PATHS[0], ENDS[0]))


def interpolate(
    model: GenerativeModel, held_out: Tensor, real: Real, config: EvaluationConfig, seed: int
) -> tuple[list[Score], dict[str, Picture]]:
    """Scores of all kinds of paths, and pictures of the first ones; all decoded without noise.

    The ends are draws of the prior, or the latents that reconstruct `held_out` images (n, C, H, W) in [-1, 1], CPU.
    """
    scores: list[Score] = []
    pictures: dict[str, Picture] = {}
    for ends, (a, b) in _ends(model, held_out, config, seed).items():
        before: tuple[Tensor, list[Score]] | None = None
        for path in PATHS:
            mix = model.mix_latents if path == PATHS[0] else model.mix_latents_paper
            latents = torch.stack([mix(a, b, i / (config.points - 1)) for i in range(config.points)], dim=1)
            if before is not None and torch.equal(latents, before[0]):  # for a normal prior both paths are one
                scores += [renamed(one, suffix(path, ends)) for one in before[1]]
                continue
            images = decoded(model, latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            found = measure(images, real)
            scores += [renamed(one, suffix(path, ends)) for one in found]
            before = before or (latents, found)
            if (path, ends) in PICTURES:
                pictures[PICTURES[path, ends]] = path_strips(images)
    return scores, pictures


def measure(paths: Tensor, real: Real) -> list[Score]:
    """The scores of paths (pairs, points, C, H, W) of images in [-1, 1], under the names of the main kind."""
    pairs, points = paths.shape[:2]
    features = real.features(paths.flatten(0, 1).split(BLOCK)).features.unflatten(0, (pairs, points))
    found = smoothness(paths, features)
    left_out = found["degenerate pairs"]
    note = f"{left_out} paths with equal ends left out" if left_out else ""
    scores = [
        Score(
            name,
            f"interpolation {name}",
            "interpolation",
            value,
            "lower",
            spread=found[f"{name} sd"],
            spread_of=f"{pairs - int(left_out or 0)} paths",
            note=note,
            n=pairs,
            points=points,
        )
        for name in MEASURES
        if (value := found[name]) is not None
    ]
    if (realism := _realism(features, real)) is not None:
        label = f"interpolation {REALISM}"
        scores.append(Score(REALISM, label, "interpolation", realism, "lower", note=note, n=pairs, points=points))
    return scores


def renamed(one: Score, ending: str) -> Score:
    """The same score under the name of another kind of path or ends."""
    return replace(one, name=one.name + ending, label=one.label + ending)


def _realism(features: Tensor, real: Real) -> float | None:
    """The realism of paths with features (pairs, points, width); None where all ends are training images themselves."""
    points = features.shape[1]
    middle = features[:, (points - 1) // 2 : points // 2 + 1].flatten(0, 1)
    try:
        return midpoint_realism(middle, features[:, [0, -1]].flatten(0, 1), real.train.features)
    except ValueError:
        return None


def _ends(
    model: GenerativeModel, held_out: Tensor, config: EvaluationConfig, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Latents of the paths' two ends, by kind; real ends are left out for a model that has no latents of images."""
    a, b = (
        torch.cat(list(in_blocks(model.sample_latents, config.paths, seed, key, device=model.device)))
        for key in ("path from", "path to")
    )
    ends = {ENDS[0]: (a, b)}
    pairs = min(config.paths, len(held_out) // 2)
    made: list[Tensor] = []
    for index, block in enumerate(held_out[: 2 * pairs].split(BLOCK)):
        generator = seeded(seed, "path end", index, device=model.device)
        latents = model.invert_latents(block.to(model.device), config.budget, generator)
        if latents is None:
            return ends
        made.append(latents)
    if made:
        latents = torch.cat(made)
        ends[ENDS[1]] = latents[0::2], latents[1::2]
    return ends
