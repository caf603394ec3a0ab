"""Times of feature extraction, run by `nox -s kernels`: ratios to torch-fidelity's own loop over the same network.

Its loop runs with its defaults (batches of 64 from loader workers), the network as published: neither folded nor
channels last. No time is asserted: absolute times are the machine's, and a busy machine must not fail a test.
"""

from __future__ import annotations

import os
import statistics
import warnings

import pytest
import torch
from torch_fidelity.defaults import DEFAULTS
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.utils import get_featuresdict_from_dataset

from bench.contract.seeds import BLOCK
from bench.evaluation.throughput import seconds_of
from bench.features import efficientnet_lite0, extract, inception, resolve
from bench.machine import runtime
from tests.feature_builders import pictures, save_random_inception

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CHOICES = {"efficientnet-lite0": 512, "inception": 128}  # images on a CPU: fewer would time the workers' start
ON_GPU = 8  # times as many
SIDE = 32
PAIRS = 3


class Published(FeatureExtractorBase):
    """A network of uint8 images to (features, logits), as torch-fidelity takes it."""

    def __init__(self, network):
        super().__init__("published", ["features", "logits"])
        self.network = network

    @staticmethod
    def get_provided_features_list():
        return "features", "logits"

    def forward(self, images):
        return tuple(self.network(images))


@pytest.fixture(autouse=True)
def _all_cores():
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("choice", CHOICES)
def test_extraction(benchmark, tmp_path, choice):
    path = save_random_inception(tmp_path / "random.pth") if choice == "inception" else None
    ours = resolve(choice, device=DEVICE, weights=path)
    network, _ = inception.load(path) if choice == "inception" else efficientnet_lite0.load()
    theirs = Published(network).to(DEVICE).eval().requires_grad_(False)
    n = CHOICES[choice] * (ON_GPU if DEVICE.type == "cuda" else 1)
    images = pictures(n, side=SIDE)

    def pass_of_ours():
        return extract(ours, images.split(BLOCK)).features

    def pass_of_theirs(save_cpu_ram=DEFAULTS["save_cpu_ram"]):
        with warnings.catch_warnings(action="ignore"), torch.random.fork_rng():  # more workers than cores; their seed
            return get_featuresdict_from_dataset(
                _Images(images),
                theirs,
                DEFAULTS["batch_size"],
                DEVICE.type == "cuda",
                save_cpu_ram,
                False,
            )["features"]

    def times_as_fast(**options):
        pairs = [
            seconds_of(lambda: pass_of_theirs(**options), DEVICE) / seconds_of(pass_of_ours, DEVICE)
            for _ in range(PAIRS)
        ]
        return statistics.median(pairs)

    wanted = pass_of_theirs()
    torch.testing.assert_close(pass_of_ours(), wanted, rtol=1e-3, atol=1e-3 * float(wanted.std()))
    ratio, without_workers = times_as_fast(), times_as_fast(save_cpu_ram=True)
    benchmark.pedantic(pass_of_ours, rounds=3)
    median = benchmark.stats.stats.median if benchmark.stats else float("nan")
    benchmark.extra_info.update(
        device=runtime.device_name(DEVICE.type),
        threads=torch.get_num_threads(),
        dtype="float32",
        extractor=ours.label,
        images=n,
        side=SIDE,
        times_as_fast_as_torch_fidelity=ratio,
        times_as_fast_as_it_without_workers=without_workers,
        images_per_second=n / median,
    )


class _Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]
