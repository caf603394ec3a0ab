"""Kernel distance between two sets of features: unbiased, so the one to read where images are few."""

from __future__ import annotations

from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from bench.features import Features
from bench.metrics.base import Metric, Score, numpy_seed

SUBSETS = 100
LARGEST_SUBSET = 1000


def kernel_distance(real: Features, generated: Features, *, seed: int) -> Score:
    """Squared maximum mean discrepancy with the kernel (x.y / width + 1)^3, in float64.

    `value` is the mean of the unbiased estimate over 100 random subsets of each set, `spread` its deviation over them.
    Range: 0 in expectation for equal distributions, where single values fall on both sides of 0; larger is worse.
    A subset holds at most half of the smaller set: subsets that are nearly the whole set would all be the same, and
    their spread would say nothing. The subset's size does not move the expectation, only the spread.
    Binkowski et al. 2018 (arXiv 1801.01401), eq. 4, through torch-fidelity.
    """
    n = min(len(real), len(generated))
    size = max(2, min(LARGEST_SUBSET, n // 2))
    result = kid_features_to_metric(
        generated.features.double(),  # first, as in torch-fidelity: the order decides who gets which random subset
        real.features.double(),
        kid_subsets=SUBSETS,
        kid_subset_size=size,
        rng_seed=numpy_seed(seed),
        verbose=False,
    )
    spread = result[KEY_METRIC_KID_STD] if size < n else None  # two images have but one subset
    return Score(result[KEY_METRIC_KID_MEAN], spread, {"spread_of": f"{SUBSETS} subsets of {size}"})


METRIC = Metric("KID", "lower", kernel_distance, "Binkowski et al. 2018, arXiv 1801.01401")
