"""Inception Score: how sure a classifier is of each generated image, and how many classes it finds."""

from __future__ import annotations

import math

from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from bench.metrics.base import ImageSets, Metric, Score, numpy_seed

SPLITS = 10
FEWEST_PER_SPLIT = 10  # below this a split cannot even hold ten classes: the images are taken as one
FEW_PER_SPLIT = 1000


def inception_score(sets: ImageSets, *, seed: int) -> Score:
    """exp of the mean KL divergence between p(class | image) and p(class), of the generated images' logits, in float64.

    Range [1, classes]. `value` is the mean over 10 splits of the shuffled images, `spread` its deviation over them;
    fewer than 100 images are one split without a spread. `real` is not looked at. Biased low: a split of m images
    cannot score above m. Salimans et al. 2016 (arXiv 1606.03498), through torch-fidelity.
    """
    n = len(sets.generated)
    splits = SPLITS if n >= SPLITS * FEWEST_PER_SPLIT else 1
    result = isc_features_to_metric(sets.generated.logits, splits=splits, shuffle=True, rng_seed=numpy_seed(seed))
    details = {"spread_of": f"{splits} splits of {n // splits}" if splits > 1 else f"1 split of {n}"}
    if n // splits < FEW_PER_SPLIT:
        details["note"] = f"{n // splits} images a split: biased low"
    value, spread = result[KEY_METRIC_ISC_MEAN], result[KEY_METRIC_ISC_STD] if splits > 1 else None
    return Score(value, spread, details, influence=lambda: value * _divergences(sets.generated.logits))


def _divergences(logits: Tensor) -> Tensor:
    """KL divergence of each image's classes from those of all images, less its mean: the influence on log IS."""
    logs = logits.double().log_softmax(1)
    divergences = (logs.exp() * (logs - (logs.logsumexp(0) - math.log(len(logs))))).sum(1)
    return divergences - divergences.mean()


METRIC = Metric("IS", "higher", inception_score, "Salimans et al. 2016, arXiv 1606.03498")
