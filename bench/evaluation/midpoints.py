"""The middles of many paths: how real they are, and how fast images change there."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Better, Score
from bench.contract.seeds import BLOCK
from bench.evaluation.entries import Real, decoded, means
from bench.features import Features
from bench.metrics import FeatureSets, bootstrap
from bench.metrics.images import reconstruction_mse
from bench.metrics.kid import kernel_distance
from bench.metrics.neighbours import nearest
from bench.metrics.paths import diversity, perceptual_length

# Of t in [0, 1], from the middle on. Features are of 8-bit images, so that a shorter step would measure rounding: at
# 0.01 pixels of digits move by one grey level, at 0.03 by three to five (docs/metrics.md has what was measured).
STEP = 0.03
KID, ENDS_KID, DISTANCE = "midpoint KID", "ends KID", "midpoint distance"
LENGTH, ENDS_MSE = "perceptual path length", "ends MSE"
ON_THE_PRIOR = "midpoints of draws of the prior are draws of the prior themselves: as KID, of images made without noise"


class Midpoints:
    """Scores of midpoints against the same real images; what does not depend on them is computed once."""

    def __init__(self, real: Real, seed: int, *, intervals: bool = True):
        self.real, self.seed, self.intervals = real, seed, intervals

    def between_draws(self, middle: Tensor, after: Tensor, ends: Tensor, note: str = "") -> list[Score]:
        """Of paths between draws of the prior: images (n, C, H, W) in [-1, 1] at t = 0.5 and a `STEP` later.

        `ends` are the features (m, width) of draws. Their KID is not ranked: it is that of samples once more.
        """
        features = self._features(middle)
        spread = diversity(features)
        scores = self._real(features, ends, "none", note)
        if spread == 0:  # all images are one: nothing can be divided by their distance
            return scores
        each = perceptual_length(features, self._features(after), STEP, spread)
        (mean,) = means({LENGTH: each}, seed=self.seed, intervals=self.intervals).values()
        length = replace(
            self._score(LENGTH, mean.value, "lower", len(each)),
            note=f"squared feature distance of a step of {STEP} from the middle, over the step's square and diversity",
            spread=mean.spread,
            spread_of=f"{len(each)} paths",
            interval=mean.interval,
            interval_of=bootstrap.INTERVAL_OF if mean.interval else "",
            within=(0.0, math.inf),
        )
        return [*scores, length]

    def between_images(self, middle: Tensor, ends: Tensor, note: str = "") -> list[Score]:
        """Of paths between latents of held-out images: their middles (n, C, H, W) in [-1, 1].

        `ends` are the features (m, width) of the latents' decodes.
        """
        return self._real(self._features(middle), ends, "lower", note)

    def _real(self, features: Tensor, ends: Tensor, better: Better, note: str) -> list[Score]:
        """How near midpoints come to real images, beside the ends and held-out images."""
        own, of_ends = (self._kid(name, x) for name, x in ((KID, features), (ENDS_KID, ends)))
        distance = float(nearest(features, self.real.train.features)[1].mean())
        return [
            replace(own, better=better, note=note),
            of_ends,
            replace(
                self._score(DISTANCE, distance, "none", len(features)),
                note=f"of features to the nearest training image; of held-out images {self._held_out:.4g}",
            ),
        ]

    def _features(self, images: Tensor) -> Tensor:
        return self.real.features(images.split(BLOCK)).features

    @cached_property
    def _sets(self) -> FeatureSets:
        return FeatureSets(self.real.train, self.real.held_out)

    @cached_property
    def _held_out(self) -> float:
        return float(nearest(self.real.held_out.features, self.real.train.features)[1].mean())

    def _kid(self, name: str, features: Tensor) -> Score:
        made = Features(features, features.new_empty(len(features), 0))
        found = kernel_distance(self._sets.with_generated(made), seed=self.seed)
        score = self._score(name, found.value, "none", len(made))
        return replace(score, n_real=len(self.real.train), spread=found.spread, spread_of=found.details["spread_of"])

    def _score(self, name: str, value: float, better: Better, n: int) -> Score:
        one = self.real.extractor
        how = {"extractor": one.name, "resize": one.side, "weights_hash": one.weights_hash}
        return Score(name, f"interpolation {name}", "interpolation", value, better, n=n, **how)


def between_draws(model: GenerativeModel, a: Tensor, b: Tensor, ends: Tensor, scored: Midpoints) -> list[Score]:
    """Scores of the prior's paths from draws `a` (n, ...) to draws `b`; `ends` are the features of some of them."""
    middle, after = (decoded(model, model.mix_latents(a, b, t)) for t in (0.5, 0.5 + STEP))
    return scored.between_draws(middle, after, ends, ON_THE_PRIOR)


def between_images(model: GenerativeModel, latents: Tensor, most: int, ends: Tensor, scored: Midpoints) -> list[Score]:
    """Scores of the prior's paths between up to `most` pairs of the latents (n, ...), n > 1, of held-out images."""
    i, j = pairs(len(latents), most)
    if len(i) < 2:  # of which a kernel distance is made
        return []
    middle = decoded(model, model.mix_latents(latents[i], latents[j], 0.5))
    return scored.between_images(middle, ends, f"{len(i)} pairs of {len(latents)} images")


def ends_error(made: Tensor, images: Tensor) -> Score:
    """How far the ends of paths between images are from those images: (n, C, H, W) twice, in [-1, 1]."""
    error = float(reconstruction_mse(images, made).double().mean())
    note = "mean squared error of the ends, per pixel and channel in [-1, 1], to the images that they stand for"
    return Score(ENDS_MSE, f"interpolation {ENDS_MSE}", "interpolation", error, "none", note=note, n=len(images))


def pairs(k: int, n: int) -> tuple[Tensor, Tensor]:
    """The first `n` of all pairs i < j of k > 1 items, those that are nearest in their order first: (m,) twice."""
    i, j = torch.triu_indices(k, k, 1)
    chosen = torch.argsort(j - i, stable=True)[:n]
    return i[chosen], j[chosen]
