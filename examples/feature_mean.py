"""A metric of one's own: how far apart the mean features are, as a multiple of the real features' deviation.

python -m bench.compare --profile smoke --set evaluation.metrics="['KID', 'examples.feature_mean:METRIC']"
"""

from __future__ import annotations

from bench.metrics import FeatureSets, Measurement, Metric


def mean_distance(sets: FeatureSets, *, seed: int) -> Measurement:
    """||m1 - m2|| over the root of the real features' total variance; range [0, inf), 0 for equal means."""
    real, generated = sets.real.features.double(), sets.generated.features.double()
    gap = (real.mean(0) - generated.mean(0)).norm()
    return Measurement(float(gap / real.var(0).sum().sqrt()), details={"note": "of features, first moments alone"})


METRIC = Metric("mean distance", "lower", mean_distance, source="an example")
