"""One score of a fixed number of samples, cheap enough to be taken many times: for curves, tuning and races."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Score
from bench.errors import UserError
from bench.evaluation import samples
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.entries import Real
from bench.features import FeatureExtractor, Features
from bench.features.cache import cached
from bench.metrics import METRICS, FeatureSets, chosen

DEFAULT = "KID"  # where no lead is declared: unbiased, so that few images do not shift it


class Yardstick:
    """The lead score of `config.samples` images against the same real ones every time; lower is better.

    `images` are uint8 (n, C, H, W), and `what` says which: "train", "validation". Their features are kept in the folder
    `cache` under the data set's content hash. UserError for a lead by which lower is not better.
    """

    def __init__(
        self,
        images: Tensor,
        extractor: FeatureExtractor,
        config: EvaluationConfig,
        *,
        what: str,
        key: str,
        cache: Path | None = None,
        progress: str | None = None,
    ):
        self.metric = config.lead or DEFAULT
        target = next((name for name in config.metrics or METRICS if self.metric in chosen([name])), None)
        if target is None or chosen([target])[self.metric].better != "lower":
            raise UserError(f"evaluation.lead={self.metric!r} is no score that is better when lower: choose KID or FD")
        self.n = config.samples
        self.label = f"{self.metric}({extractor.label})"
        self.against = f"{len(images):,} {'training' if what == 'train' else what} images"
        self._config = EvaluationConfig(metrics=(target,), lead=self.metric, samples=config.samples)
        features = cached(extractor, images, what=what, key=key, folder=cache, progress=progress)
        self._real = Real(extractor, features, features)

    @torch.no_grad()
    def score(self, model: GenerativeModel, seed: int) -> Score:
        """The score of the model's samples, a function of its weights and `seed`.

        Raises NotFiniteError for samples that are not finite, UserError for those that break the contract.
        """
        made = samples.generate(model, self._real, self.n, seed, keep=1)
        return self._scored(FeatureSets(self._real.train, made.features), seed)

    def check(self) -> None:
        """UserError where there are too few images on either side; what long work asks before it begins."""
        real = self._real.train
        times = -(-self.n // len(real))
        made = Features(real.features.repeat(times, 1), real.logits.repeat(times, 1)).first(self.n)
        self._scored(FeatureSets(real, made), 0)

    def of_real(self, images: Tensor) -> Score:
        """The score of the first of these real images, uint8 (n, C, H, W), at most as many as of a model."""
        made = cached(self._real.extractor, images[: self.n], what="real")
        return self._scored(FeatureSets(self._real.train, made), 0)

    def _scored(self, sets: FeatureSets, seed: int) -> Score:
        found = samples.score(sets, self._real, self._config, seed, intervals=False)
        if not found:
            raise UserError(f"evaluation.lead={self.metric!r} has no value for these images: choose KID or FD")
        return found[0]
