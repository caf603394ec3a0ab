"""Feature sets for the tests of metrics: drawn, exact, and the extractor that they pretend to come from."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from bench.features import Features
from bench.metrics import METRICS, FeatureSets


@dataclasses.dataclass
class StubExtractor:
    """What `score` reads of an extractor."""

    name: str = "stub"
    side: int = 16
    width: int = 4
    weights_hash: str = "ab" * 32
    label: str = "stub, 16 px"


def features(x, classes=3):
    x = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    return Features(x, torch.zeros(len(x), classes))


def logits(x):
    x = torch.as_tensor(x, dtype=torch.float32)
    return Features(torch.zeros(len(x), 4), x)


def gaussian(n, mean, covariance, seed):
    """Features whose sample mean and covariance are exactly these."""
    x = np.random.default_rng(seed).standard_normal((n, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return features(white @ np.linalg.cholesky(np.asarray(covariance, dtype=float)).T + np.asarray(mean))


def random_features(n, width=4, classes=5, seed=0, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    return Features(
        torch.randn(n, width, generator=draw) + shift, torch.randn(n, classes, generator=draw).mul(2) + shift
    )


def result(name, real, generated, seed=0, held_out=None):
    """The `Score` of one metric of the table."""
    return METRICS[name].function(FeatureSets(real, generated, held_out), seed=seed)


def value(name, real, generated, seed=0, held_out=None):
    return result(name, real, generated, seed, held_out).value
