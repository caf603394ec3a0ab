"""Scores equal those of torch-fidelity's own `calculate_metrics`, on the same images through the same extractor."""

from __future__ import annotations

import pytest
import torch
import torch_fidelity
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from bench import metrics
from bench.features import extract, resolve
from tests.feature_builders import CPU, pictures, save_random_inception

N = 120  # images in a set: ten splits of twelve for the Inception Score
SEED = 20
K = 5  # neighbours of precision and recall
SMALL = 75  # input side of Inception here, its least: what is compared are the metrics, and 299 takes 20 times as long


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", SMALL)
        weights = save_random_inception(tmp_path_factory.mktemp("weights") / "random.pth")
        yield {
            "efficientnet-lite0/40@64": resolve("efficientnet-lite0/40@64", device=CPU),
            "efficientnet-lite0@64": resolve("efficientnet-lite0@64", device=CPU),
            "inception/64": resolve("inception/64", device=CPU, weights=weights),
            "inception": resolve("inception", device=CPU, weights=weights),
        }


class _Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def scores_of_torch_fidelity(extractor, generated, real, subset):
    """What `calculate_metrics` makes of our extractor, registered with it."""

    class Registered(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"

        def forward(self, images):
            both = dict(zip(("features", "logits"), extractor(images), strict=True))
            return tuple(both[name].double() for name in self.features_list)  # float32 would be summed as such

    FEATURE_EXTRACTORS_REGISTRY["registered for a test"] = Registered
    try:
        return torch_fidelity.calculate_metrics(
            input1=_Images(generated),
            input2=_Images(real),
            feature_extractor="registered for a test",
            cuda=False,
            isc=True,
            fid=True,
            kid=True,
            prc=True,
            kid_subset_size=subset,
            prc_neighborhood=K,
            rng_seed=SEED,
            save_cpu_ram=True,
            cache=False,
            verbose=False,
        )
    finally:
        del FEATURE_EXTRACTORS_REGISTRY["registered for a test"]


@pytest.mark.parametrize(
    ("choice", "frechet"),
    [  # at deficient rank torch-fidelity's eigenvalues lose digits: the distance is held to what they keep
        ("efficientnet-lite0/40@64", 1e-6),
        ("inception/64", 1e-6),
        ("efficientnet-lite0@64", 1e-4),
        ("inception", 1e-4),
    ],
)
def test_scores_equal_those_of_calculate_metrics(extractors, choice, frechet):
    extractor = extractors[choice]
    real, generated = pictures(N, side=16, seed=1), pictures(N + 20, side=12, seed=2)  # of unequal size and number
    sets = metrics.FeatureSets(*(extract(extractor, images.split(64)) for images in (real, generated)), None)
    ours = {row.name: row for row in metrics.score(sets, extractor, seed=SEED, intervals=False)}
    subset = int(ours["KID"].spread_of.split()[-1])
    with torch.random.fork_rng():  # its loader draws a seed
        theirs = scores_of_torch_fidelity(extractor, generated, real, subset)
    exact = {
        "KID": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    assert ours["FD"].value == pytest.approx(theirs["frechet_inception_distance"], rel=frechet)
    for name, key in exact.items():
        assert ours[name].value == pytest.approx(theirs[key], rel=1e-6), name
    above_one = theirs["inception_score_mean"] - 1  # random weights are sure of nothing: their score is just above 1
    assert ours["IS"].value - 1 == pytest.approx(above_one, rel=1e-6)
    assert ours["KID"].spread == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6)
    assert ours["IS"].spread == pytest.approx(theirs["inception_score_std"], rel=1e-6)
    assert ours["FD"].value > 0
    assert ours["precision"].value != ours["recall"].value  # or the order of arguments would not show
