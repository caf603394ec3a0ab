"""Paths between images: two kinds of path in the latent space, between two kinds of ends, and what they measure."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Score
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.evaluation import midpoints
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
    model: GenerativeModel, held_out: Tensor, real: Real, config: EvaluationConfig, seed: int, *, intervals: bool = True
) -> tuple[list[Score], dict[str, Picture]]:
    """Scores of all kinds of paths, and pictures of the first ones; all decoded without noise.

    The ends are draws of the prior, or the latents that reconstruct `held_out` images (n, C, H, W) in [-1, 1], CPU.
    """
    scores: list[Score] = []
    pictures: dict[str, Picture] = {}
    draws = tuple(_draws(model, max(config.paths, config.midpoints), seed, key) for key in ("path from", "path to"))
    scored = midpoints.Midpoints(real, seed, intervals=intervals)
    for ends, (a, b) in _ends(model, held_out, config, seed, draws).items():
        before: tuple[Tensor, list[Score]] | None = None
        for path in PATHS:
            mix = model.mix_latents if path == PATHS[0] else model.mix_latents_paper
            latents = torch.stack([mix(a, b, i / (config.points - 1)) for i in range(config.points)], dim=1)
            if before is not None and torch.equal(latents, before[0]):  # for a normal prior both paths are one
                scores += [renamed(one, suffix(path, ends)) for one in before[1]]
                continue
            images = decoded(model, latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
            features = features_of(images, real)
            found = measure(images, features, real)
            scores += [renamed(one, suffix(path, ends)) for one in found]
            if before is None:  # on the prior's path
                before = latents, found
                known, shown = features[:, [0, -1]].flatten(0, 1), images[:, [0, -1]].flatten(0, 1)
                if ends == ENDS[0]:
                    more = midpoints.between_draws(model, *(x[: config.midpoints] for x in draws), known, scored)
                else:
                    both = torch.stack([a, b], dim=1).flatten(0, 1)
                    more = midpoints.between_images(model, both, config.midpoints, known, scored)
                    more.append(midpoints.ends_error(shown, held_out[: len(shown)]))
                scores += [renamed(one, suffix(path, ends)) for one in more]
            if (path, ends) in PICTURES:
                pictures[PICTURES[path, ends]] = path_strips(images)
    return scores, pictures


def features_of(paths: Tensor, real: Real) -> Tensor:
    """Features (pairs, points, width) of paths (pairs, points, C, H, W) of images in [-1, 1]."""
    return real.features(paths.flatten(0, 1).split(BLOCK)).features.unflatten(0, paths.shape[:2])


def measure(paths: Tensor, features: Tensor, real: Real) -> list[Score]:
    """Descriptions of paths (pairs, points, C, H, W) of images in [-1, 1], under the names of the main kind.

    Nothing is ranked by them: a model whose images are all alike has the straightest and evenest paths.
    """
    pairs, points = paths.shape[:2]
    found = smoothness(paths, features)
    left_out = found["degenerate pairs"]
    note = f"{left_out} paths with equal ends left out" if left_out else ""
    scores = [
        Score(
            name,
            f"interpolation {name}",
            "interpolation",
            value,
            "none",
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
        scores.append(Score(REALISM, label, "interpolation", realism, "none", note=note, n=pairs, points=points))
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


def _draws(model: GenerativeModel, n: int, seed: int, key: str) -> Tensor:
    """Latents (n, ...) drawn from the prior; the first ones do not depend on n."""
    return torch.cat(list(in_blocks(model.sample_latents, n, seed, key, device=model.device)))


def _ends(
    model: GenerativeModel, held_out: Tensor, config: EvaluationConfig, seed: int, draws: tuple[Tensor, ...]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Latents of the paths' two ends, by kind; real ends are left out for a model that has no latents of images."""
    a, b = (latents[: config.paths] for latents in draws)
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
