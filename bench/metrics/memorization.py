"""Memorization: whether generated images lie nearer to the training images than images that no one trained on."""

from __future__ import annotations

from bench.metrics.auroc import wins
from bench.metrics.base import FeatureSets, Measurement, Metric
from bench.metrics.neighbours import nearest, neighbours


def memorization(sets: FeatureSets, *, seed: int = 0) -> Measurement | None:
    """P(a generated image lies nearer to its nearest training image than a held-out image to its own), ties half.

    Range [0, 1]: 0.5 where generated images are as far from the training set as new real ones, 1 where all are nearer
    than any of those (copies), 0 where all are farther, as those of a model that makes poor images are; so nothing is
    ranked by it. The Mann-Whitney statistic U / nm of the distances between features. None without held-out images,
    and where the generated images are held-out ones.
    Meehan, Chaudhuri and Dasgupta 2020 (arXiv 2004.05675), with one cell for the whole space.
    """
    if sets.unseen is None:
        return None
    held_out = sets.unseen.features
    of_held_out = sets.once("held-out", lambda: nearest(held_out, sets.real.features)[1], real_alone=True)
    nearer = wins(-neighbours(sets).to_real, -of_held_out)
    return Measurement(
        float(nearer.mean()),
        details={"note": f"against {len(held_out)} held-out images; 0.5: no memorization, 1: copies"},
        influence=lambda: nearer - nearer.mean(),
        within=(0.0, 1.0),
        share=True,
    )


METRIC = Metric(
    "memorization",
    "none",
    memorization,
    "Meehan et al. 2020, arXiv 2004.05675",
    table="variety",
    of_equal=lambda real, generated: 0.5,
)
