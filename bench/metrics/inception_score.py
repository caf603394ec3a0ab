"""Inception Score: how sure a classifier is of each generated image, and how many classes it finds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from bench.metrics.base import FeatureSets, Measurement, Metric, numpy_seed

SPLITS = 10
FEWEST_PER_SPLIT = 10  # below this a split cannot even hold ten classes: the images are taken as one
FEW_PER_SPLIT = 1000


def inception_score(sets: FeatureSets, *, seed: int) -> Measurement | None:
    """exp of the mean KL divergence between p(class | image) and p(class), of the generated images' logits, in float64.

    Range [1, classes]. `value` is the mean over 10 splits of the shuffled images, `spread` its deviation over them;
    fewer than 100 images are one split without a spread. `real` is not looked at. Biased low: a split of m images
    cannot score above m. None where the logits are of no classes: the network classifies nothing.
    Salimans et al. 2016 (arXiv 1606.03498), through torch-fidelity.
    """
    if not sets.generated.logits.shape[1]:
        return None
    n = len(sets.generated)
    splits = SPLITS if n >= SPLITS * FEWEST_PER_SPLIT else 1
    result = isc_features_to_metric(sets.generated.logits, splits=splits, shuffle=True, rng_seed=numpy_seed(seed))
    details = {"spread_of": f"{splits} splits of {n // splits}" if splits > 1 else f"1 split of {n}"}
    if n // splits < FEW_PER_SPLIT:
        details["note"] = f"{n // splits} images a split: biased low"
    value = result[KEY_METRIC_ISC_MEAN]
    within = (1.0, float(sets.generated.logits.shape[1]))
    if splits > 1:
        return Measurement(value, result[KEY_METRIC_ISC_STD], details, within=within, splits=splits)
    return Measurement(value, None, details, influence=lambda: _influence(sets.generated.logits), within=within)


def _influence(logits: Tensor) -> Tensor:
    """The jackknife's influence of each image on the score of one split, from the scores without it: (n,) of mean 0."""
    p = logits.double().softmax(1)
    n, entropies = len(p), torch.special.entr(p).sum(1)
    marginals = (p.sum(0) - p).clamp(min=0) / (n - 1)  # of all the other images
    without = (torch.special.entr(marginals).sum(1) - (entropies.sum() - entropies) / (n - 1)).exp()
    return (n - 1) * (without.mean() - without)


METRIC = Metric("IS", "higher", inception_score, "Salimans et al. 2016, arXiv 1606.03498", natural=True)
