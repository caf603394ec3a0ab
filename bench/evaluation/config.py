"""The [evaluation] section of a profile."""

from __future__ import annotations

from dataclasses import dataclass

from bench.contract.config import require
from bench.evaluation.pictures import COLUMNS, ROWS
from bench.metrics.frechet import FEWEST


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, on how many images; every number of it stands in the record."""

    metrics: tuple[str, ...] = ()  # names, or package.module:METRIC; none: all of `bench.metrics.METRICS`
    lead: str = ""  # the metric that decides, declared before anything is scored; "": none is declared
    samples: int = 1000  # generated images that are scored, for each evaluation seed
    real: int = 0  # training images they are held against; 0 for all
    reconstructions: int = 1000  # held-out images, at most
    budget: int = 50  # decodes an image that latent inversion may spend
    inpaintings: int = 64  # held-out images, at most, that are reconstructed from their left half; 0 for none
    dimensions: tuple[int, ...] = (4, 8, 16, 32)  # that latents may move in, beside all of theirs; none for no curve
    dimension_images: int = 32  # held-out images, at most, for each number of dimensions
    restarts: int = 1  # draws of the prior that latent inversion starts from; they share the budget
    paths: int = 64  # interpolation paths of each kind
    points: int = 9  # on a path, ends included
    midpoints: int = 256  # pairs of each kind whose middle alone is made, to be held against real images
    sweep: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)  # chain lengths that are scored, times the model's own
    sweep_samples: int = 500  # generated images for each of them; 0 for no sweep
    ood: tuple[str, ...] = ("noise", "blends", "blurred", "constants")  # these, or data sets: told from held-out images
    frames: int = 8  # of a chain's picture
    throughput_batch: int = 64
    throughput_repeats: int = 5

    def __post_init__(self) -> None:
        counts = ("reconstructions", "budget", "restarts", "dimension_images", "paths")
        for name in (*counts, "throughput_batch", "throughput_repeats"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "inpaintings", self.inpaintings >= 0, "0 (none) or more")
        require(self, "dimensions", all(k >= 1 for k in self.dimensions), "numbers of at least 1")
        require(self, "dimensions", len(set(self.dimensions)) == len(self.dimensions), "numbers that differ")
        require(self, "samples", self.samples >= ROWS * COLUMNS, f"at least {ROWS * COLUMNS}")
        require(self, "real", self.real == 0 or self.real >= 2, "0 (all) or at least 2")
        require(self, "restarts", self.restarts <= self.budget, f"at most the budget, {self.budget}")
        require(self, "points", self.points >= 3, "at least 3")
        require(self, "midpoints", self.midpoints >= 2, "at least 2")
        require(self, "frames", self.frames >= 2, "at least 2")
        require(self, "sweep", all(factor > 0 for factor in self.sweep), "factors above 0")
        require(self, "sweep", len(set(self.sweep)) == len(self.sweep), "factors that differ")
        few = f"0 (no sweep) or at least {FEWEST}, as a Frechet distance needs"
        require(self, "sweep_samples", self.sweep_samples == 0 or self.sweep_samples >= FEWEST, few)
        require(self, "ood", len(set(self.ood)) == len(self.ood), "names that differ")
