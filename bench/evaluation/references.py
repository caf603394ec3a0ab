"""What the same scores say of images that no model made: real ones, corrupted real ones, noise."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bench.contract.images import from_uint8
from bench.contract.scores import Score
from bench.data import ImageData
from bench.errors import UserError
from bench.evaluation import counts, inpainting
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.corruptions import NOISE, blur_deviation, blurred, noise, noised
from bench.evaluation.entries import Real, merged
from bench.evaluation.interpolation import ENDS, PATHS, features_of, measure, renamed, suffix
from bench.evaluation.midpoints import STEP, Midpoints, pairs
from bench.evaluation.reconstruction import How, compare
from bench.evaluation.samples import score, wanted
from bench.features import Features
from bench.features.cache import cached
from bench.metrics import FeatureSets

REAL, RESPLIT, UNIFORM = "real, held out", "real, re-split", "uniform noise"
EXPECTED = "equal distributions, expected"


@dataclass(frozen=True)
class Reference:
    """Images that no model made, scored like samples."""

    title: str
    scores: list[Score]


def references(
    data: ImageData,
    real: Real,
    config: EvaluationConfig,
    *,
    cache: Path | None,
    progress: str | None,
    samples_only: bool = False,  # leave reconstruction and interpolation out
) -> dict[str, Reference]:
    """The record's `references`: functions of the data set and the settings, of no model and no seed."""
    own, these = counts.of_models(data, config), counts.of_references(data, config)
    unseen = len(data.held_out) + len(data.spare)
    images = torch.cat([data.held_out, data.spare, data.train[these.real :]])[: these.generated]
    made = {
        "real": (REAL if these.generated <= unseen else RESPLIT, images),
        "blurred": (f"real, blurred (sd {blur_deviation(data.image_shape):g} px)", blurred(images)),
        "noised": (f"real, with noise (sd {NOISE} grey levels)", noised(images)),
        "noise": (UNIFORM, noise(config.samples, data.image_shape)),
    }
    others: dict[str, list[Score]] = {kind: [] for kind in made}
    if not samples_only:
        others["real"] = _blends(from_uint8(data.held_out), real, config)
        others["noise"] = [*_mean_image(data, config), *_noise_paths(data, real, config)]
    result = {}
    for kind, (title, pixels) in made.items():
        features = cached(real.extractor, pixels, what=kind, folder=cache, progress=progress)
        try:
            scores = _scores(kind == "noise", features, real, config, own, these)
        except UserError as error:
            print(f"{data.name}: no scores of {title!r} images: {error}", file=sys.stderr)
            scores = []
        if title == RESPLIT:
            more = f"{len(pixels):,} real images against {these.real:,} others, as only {unseen:,} are not for training"
            scores = [counts.following(one, more) for one in scores[:1]] + scores[1:]
        result[kind] = Reference(title, merged([[*scores, *others[kind]]]))
    result["expected"] = Reference(EXPECTED, merged([_expected(result["noise"].scores, real, config)]))
    return {kind: result[kind] for kind in ("real", "expected", "blurred", "noised", "noise")}


def _scores(
    is_noise: bool,
    features: Features,
    real: Real,
    config: EvaluationConfig,
    own: counts.Counts,  # of the models
    these: counts.Counts,  # of the references
) -> list[Score]:
    """All scores at the models' counts where there are as many images; else those that the counts move are named so."""

    def scored(n: counts.Counts, *, again: bool) -> list[Score]:
        train, made = real.train.first(n.real), features.first(n.generated)
        sets = FeatureSets(train, made, None if again else real.held_out, generated_is_held_out=not is_noise)
        return [counts.following(one) for one in score(sets, real, config, 0, intervals=True, again=again)]

    if own == these:
        return scored(own, again=False)
    if is_noise:
        return [*scored(own, again=False), *map(counts.at_equal_counts, scored(these, again=True))]
    metrics = wanted(config, real)
    unmoved = metrics.keys() - counts.counted(metrics)
    found = scored(these, again=False)
    moved = [counts.at_equal_counts(one) for one in found if one.name not in unmoved]
    return [*(one for one in found if one.name in unmoved), *moved]


def _expected(scores: list[Score], real: Real, config: EvaluationConfig) -> list[Score]:
    """Those of `scores` whose expectation for equal distributions is known, at the same counts, with that value."""
    metrics, found = wanted(config, real), []
    for one in scores:
        metric = metrics.get(one.name.removesuffix(counts.ENDING))
        if one.group == "samples" and metric is not None and metric.of_equal is not None:
            value = metric.of_equal(one.n_real or 0, one.n_generated or 0)  # every score of samples has both
            bare = {"per_seed": (), "spread": None, "spread_of": "", "interval": None, "interval_of": "", "note": ""}
            found.append(replace(one, value=value, **bare))
    return found


def _mean_image(data: ImageData, config: EvaluationConfig) -> list[Score]:
    """The error of reconstructing every held-out image as the mean of the training images."""
    images = from_uint8(data.held_out[: config.reconstructions])
    total = sum(part.double().sum(0) for part in data.train.split(4096))
    mean = (total / len(data.train)).div(127.5).sub(1).to(images.dtype)
    how = How(0, "mean image", made_of="the training images' mean")
    return compare(images, mean.expand_as(images).contiguous(), how) + inpainting.of_mean(images, mean, config, how)


def _paths(paths: Tensor, middle: Tensor, after: Tensor, ends: Tensor, real: Real, made_of: str) -> list[Score]:
    """The scores of paths (pairs, points, C, H, W), and of more midpoints (n, C, H, W) of the same kind.

    They stand under the names of all kinds of paths, since no kind is theirs.
    """
    shapes = measure(paths, features_of(paths, real), real) if len(paths) else []
    scored = Midpoints(real, 0)
    middles = {ENDS[0]: scored.between_draws(middle, after, ends), ENDS[1]: scored.between_images(middle, ends)}
    found = []
    for kind in ENDS:
        found += [renamed(one, suffix(path, kind)) for path in PATHS for one in shapes]
        found += [renamed(one, suffix(PATHS[0], kind)) for one in middles[kind]]
    return [replace(one, made_of=made_of) for one in found]


def _blends(held_out: Tensor, real: Real, config: EvaluationConfig) -> list[Score]:
    """Pixels blended linearly between pairs of held-out images (n, C, H, W) in [-1, 1]."""
    n = min(config.paths, len(held_out) // 2)
    a, b = held_out[: 2 * n : 2], held_out[1 : 2 * n : 2]
    paths = torch.stack([torch.lerp(a, b, i / (config.points - 1)) for i in range(config.points)], dim=1)
    i, j = pairs(len(held_out), config.midpoints)
    middle, after = (torch.lerp(held_out[i], held_out[j], t) for t in (0.5, 0.5 + STEP))
    return _paths(paths, middle, after, real.held_out.features, real, "real, pixels blended")


def _noise_paths(data: ImageData, real: Real, config: EvaluationConfig) -> list[Score]:
    """Independent noise at every point."""
    paths = noise(config.paths * config.points, data.image_shape)
    middle, after = from_uint8(noise(2 * config.midpoints, data.image_shape)).chunk(2)
    ends = real.features([from_uint8(paths[: 2 * config.paths])]).features
    every = from_uint8(paths).unflatten(0, (config.paths, config.points))
    return _paths(every, middle, after, ends, real, "independent noise")
