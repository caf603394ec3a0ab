"""All that is measured of a model, by one call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from bench.contract.images import from_uint8
from bench.contract.model import GenerativeModel
from bench.contract.scores import Curve, Score, Throughput
from bench.data import ImageData
from bench.errors import NotFiniteError, UserError
from bench.evaluation import (
    counts,
    diagnostics,
    dimensions,
    inpainting,
    interpolation,
    pictures,
    reconstruction,
    samples,
)
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.entries import Real, merged
from bench.evaluation.pictures import COLUMNS, ROWS, Picture
from bench.evaluation.references import Reference, references
from bench.evaluation.throughput import sampler_throughput
from bench.evaluation.yardstick import Yardstick
from bench.features import FeatureExtractor, Features
from bench.features.cache import cached
from bench.metrics import FeatureSets
from bench.metrics.frechet import FEWEST
from bench.metrics.neighbours import nearest
from bench.sampling.blocks import Sampling, alone


@dataclass(frozen=True)
class Untrained:
    """Scores and curves of a model with its first weights, in which its machinery alone could do well."""

    scores: list[Score]
    curves: list[Curve]


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of one model."""

    scores: list[Score]
    references: dict[str, Reference]
    untrained: Untrained | None  # None where no untrained model was given, or its decodes are not finite
    curves: list[Curve]
    throughput: Throughput
    pictures: dict[str, Picture]


@dataclass(frozen=True)
class Known:
    """What an evaluator computes once of the real images, for one of the same images elsewhere."""

    train: Features
    held_out: Features
    references: dict[str, Reference]
    ood_sets: dict[str, torch.Tensor]


class Evaluator:
    """Scores models of one data set; what does not depend on a model is computed once.

    Features of real images and of noise are kept in the folder `cache` (None: nowhere). Raises UserError where there
    are too few training images for a score.
    """

    def __init__(
        self,
        data: ImageData,
        extractor: FeatureExtractor,
        config: EvaluationConfig,
        *,
        cache: Path | None = None,
        data_root: Path = Path("data"),  # where the data sets of `config.ood` lie
        progress: bool = True,
    ):
        self.data, self.extractor, self.config, self.progress = data, extractor, config, progress
        self.cache, self.data_root = cache, data_root
        self._yardsticks: dict[int, Yardstick] = {}  # by number of samples
        diagnostics.check_names(config.ood)
        samples.check_metrics(config, natural=data.natural)
        n = min(config.samples, config.real or len(data.train), len(data.train))
        if n <= extractor.width and n < FEWEST:
            raise UserError(
                f"{data.name}: scores against {n} training images: a Frechet distance takes at least {FEWEST}, "
                "or more than features; take more images"
            )

    @cached_property
    def real(self) -> Real:
        """Features of the first `config.real` training images, which a seed has put in random order, and held-out."""
        train = self.data.train[: self.config.real or None]
        features = self._features(train, "train"), self._features(self.data.held_out, "held out")
        return Real(self.extractor, *features, natural=self.data.natural)

    @cached_property
    def references(self) -> dict[str, Reference]:
        """Every score of images that no model made."""
        title = self._title("references")
        return references(self.data, self.real, self.config, cache=self.cache, progress=title)

    @cached_property
    def ood_sets(self) -> dict[str, torch.Tensor]:
        """Images that held-out ones are told from."""
        return diagnostics.ood_sets(
            self.config.ood, self.data_root, self.data.held_out, own=self.data.name, progress=self.progress
        )

    def known(self) -> Known:
        """All that depends on no model, computed now where it was not yet."""
        return Known(self.real.train, self.real.held_out, self.references, self.ood_sets)

    def take(self, known: Known) -> None:
        """Use what another evaluator of the same images, extractor and settings knows, and compute none of it."""
        self.real = Real(self.extractor, known.train, known.held_out, natural=self.data.natural)
        self.references, self.ood_sets = known.references, known.ood_sets

    def yardstick(self, n: int) -> Yardstick:
        """What scores `n` samples on the way of a training, by the lead score.

        Against the validation images where any are set apart, else against the training images of the tables. Raises
        UserError where these are too few, and for a lead by which lower is not better.
        """
        if n not in self._yardsticks:
            apart = len(self.data.validation) > 0
            self._yardsticks[n] = Yardstick(
                self.data.validation if apart else self.data.train[: self.config.real or None],
                self.extractor,
                replace(self.config, samples=n),
                what="validation" if apart else "train",
                key=self.data.content_hash,
                cache=self.cache,
                progress=self._title("images that curves are scored against"),
            )
            self._yardsticks[n].check()
        return self._yardsticks[n]

    @torch.no_grad()
    def evaluate(
        self,
        model: GenerativeModel,
        seeds: Sequence[int],
        untrained: Callable[[], GenerativeModel] | None = None,  # makes the same model with its first weights
        sampling: Sampling = alone,  # who draws the samples; it changes no score
    ) -> Evaluation:
        """All that is measured of a model, as a function of its weights and the evaluation's seeds.

        Scores are means over `seeds`; intervals, curves, pictures, throughput and all of `untrained` are of the first.
        Raises NotFiniteError when it makes images that are not finite, UserError when they break the contract.
        """
        config = self.config
        throughput = sampler_throughput(
            model, batch_size=config.throughput_batch, repeats=config.throughput_repeats, seed=seeds[0]
        )
        first, sets, curves, shown = self._evaluate(model, seeds[0], sampling, first=True)
        per_seed = [first, *(self._evaluate(model, seed, sampling, first=False)[0] for seed in seeds[1:])]
        if config.sweep_samples and config.sweep:
            with sampling() as by:
                curves += samples.sweep(model, sets, self.real, config, seeds[0], by)
        shown |= pictures.chain(model, seeds[0], config.frames) | pictures.long_chain(model, seeds[0])
        first_weights = self._untrained(untrained(), seeds[0]) if untrained is not None else None
        return Evaluation(merged(per_seed), self.references, first_weights, curves, throughput, shown)

    def evaluate_images(
        self, images: Callable[[int], torch.Tensor], seeds: Sequence[int]
    ) -> tuple[list[Score], dict[str, Reference], dict[str, Picture]]:
        """Scores of images made elsewhere: scores, references (of samples alone) and pictures (of the first seed).

        `images` gives those of an evaluation seed, uint8 (n, C, H, W): the same for all seeds, or new ones.
        """
        real, first, made, per_seed = self.real, None, None, []
        for seed in seeds:
            these = images(seed)
            if made is None or made.images is not these:
                title = self._title("the images")
                made = samples.Generated(these, cached(self.extractor, these, what="generated", progress=title))
            first = first or made
            sets = FeatureSets(real.train, made.features, real.held_out)
            scores = samples.score(sets, real, self.config, seed, intervals=seed == seeds[0])
            per_seed.append([*scores, *self._at_equal_counts(made.features, seed, intervals=seed == seeds[0])])
        assert first is not None, "no seed"
        bounds = references(
            self.data, real, self.config, cache=self.cache, progress=self._title("references"), samples_only=True
        )
        columns = min(COLUMNS, len(first.images))
        shown = first.images[: min(len(first.images), ROWS * COLUMNS) // columns * columns]
        sheets = {"samples": Picture.of(shown, columns), "nearest": nearest_picture(first, self.data, real)}
        return merged(per_seed), bounds, sheets

    def _evaluate(
        self, model: GenerativeModel, seed: int, sampling: Sampling, *, first: bool
    ) -> tuple[list[Score], FeatureSets, list[Curve], dict[str, Picture]]:
        """Scores, features, curves and pictures of one evaluation seed; pictures are of use for the first alone."""
        config, real = self.config, self.real
        keep = config.samples if first else 1
        with sampling() as by:
            title = self._title("samples")
            made = samples.generate(model, real, config.samples, seed, keep=keep, title=title, by=by)
        sets = FeatureSets(real.train, made.features, real.held_out)
        scores = samples.score(sets, real, config, seed, intervals=first)
        scores += self._at_equal_counts(made.features, seed, intervals=first)
        back, errors = self._reconstruct(model, seed, intervals=first)
        scores += errors
        images = from_uint8(self.data.held_out)
        paths, strips = interpolation.interpolate(model, images, real, config, seed, intervals=first)
        inner = diagnostics.diagnose(
            model, self.data.held_out, self.ood_sets, config.samples, seed, train=self.data.train, far=first
        )
        scores += [*paths, *inner.scores]
        if not first:
            return scores, sets, [], {}
        shown = {
            "samples": Picture.of(made.images[: ROWS * COLUMNS], COLUMNS),
            "nearest": nearest_picture(made, self.data, real),
            **back.pictures(),
            **strips,
        }
        return scores, sets, [back.curve(), *dimensions.curve(model, back.images, config, seed), *inner.curves], shown

    def _reconstruct(
        self, model: GenerativeModel, seed: int, *, intervals: bool
    ) -> tuple[reconstruction.Reconstruction, list[Score]]:
        """Reconstructions of held-out images, and all scores of the group "reconstruction"."""
        config = self.config
        held_out = from_uint8(self.data.held_out[: config.reconstructions])
        back = reconstruction.reconstruct(model, held_out, config, seed)
        scores = back.scores(reconstruction.settings(model, config), seed=seed, intervals=intervals)
        scores += reconstruction.inverted(model, back, config, seed, intervals=intervals)
        return back, scores + inpainting.inpaint(model, held_out, config, seed, intervals=intervals)

    def _untrained(self, model: GenerativeModel, seed: int) -> Untrained | None:
        """What a model's machinery can do alone; None, with a line on stderr, where its decodes are not finite."""
        try:
            back, scores = self._reconstruct(model, seed, intervals=True)
            return Untrained(merged([scores]), dimensions.curve(model, back.images, self.config, seed))
        except NotFiniteError as error:
            print(f"{self.data.name}: no scores of the untrained model: {error}", file=sys.stderr)
            return None

    def _at_equal_counts(self, features: Features, seed: int, *, intervals: bool) -> list[Score]:
        """Scores of samples once more, at the counts of the references; none where those have the samples' counts."""
        own, these = counts.of_models(self.data, self.config), counts.of_references(self.data, self.config)
        if own == these or len(features) < these.generated:
            return []
        sets = FeatureSets(self.real.train.first(these.real), features.first(these.generated))
        try:
            found = samples.score(sets, self.real, self.config, seed, intervals=intervals, again=True)
        except UserError:  # too few images: the references say so
            return []
        return [counts.at_equal_counts(one) for one in found]

    def _features(self, images: torch.Tensor, what: str) -> Features:
        title = self._title(f"{what} images")
        return cached(self.extractor, images, what=what, key=self.data.content_hash, folder=self.cache, progress=title)

    def _title(self, what: str) -> str | None:
        return f"{self.data.name}: features of {what}" if self.progress else None


def nearest_picture(made: samples.Generated, data: ImageData, real: Real) -> Picture:
    """The generated images nearest to a training image, beside it."""
    index, distance = nearest(made.features.features[: len(made.images)], real.train.features)
    return pictures.nearest_pairs(made.images, data.train, index, distance)
