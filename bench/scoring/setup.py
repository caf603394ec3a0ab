"""What a program runs with, whatever it runs: device, threads, extractor, kept features, data root, progress bars."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from bench import data as datasets
from bench import features
from bench.config.commandline import data_root
from bench.data import DataConfig, ImageData
from bench.evaluation import EvaluationConfig, Evaluator
from bench.features import FeatureExtractor
from bench.features.cache import cache_folder
from bench.features.choice import EXTRACTORS
from bench.machine import runtime
from bench.sampling.processes import ALONE, Processes
from bench.sampling.shared import Workers


@dataclass(frozen=True)
class Setup:
    """What the options say that every program has; what they name is found and loaded when it is first asked for."""

    device_choice: str = "auto"  # auto, cpu or cuda
    threads: int | None = None  # of the CPU; None: all cores
    extractor_choice: str = "auto"  # as `bench.features.resolve` takes it
    extractor_weights: Path | None = None
    cache: Path | None = None  # where features of real images are kept; None keeps none
    data_root: Path = Path("data")
    progress: bool = True  # bars on stderr
    sampling: Workers = ALONE  # who draws the samples that are scored

    @classmethod
    def of(cls, arguments: argparse.Namespace, extractor: str) -> Setup:
        """From the options of `bench.config.commandline.add_common`, and of its `add_sampling` if a program has them.

        `extractor` is the choice without --features.
        """
        return cls(
            device_choice=arguments.device,
            threads=arguments.threads,
            extractor_choice=arguments.features or extractor,
            extractor_weights=arguments.extractor_weights,
            cache=None if arguments.no_cache else cache_folder(),
            data_root=data_root(arguments),
            progress=not arguments.quiet,
            sampling=Processes(getattr(arguments, "sampling_workers", 1)),
        )

    def configure(self) -> torch.device:
        """Set up threads, allocator and precision of the process, and give the device; raises as `device`."""
        runtime.configure(self.threads)
        return self.device

    @cached_property
    def device(self) -> torch.device:
        """UserError for a device that is unknown or not there."""
        return runtime.resolve_device(self.device_choice)

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Loaded and checked; UserError where it cannot be had."""
        return features.resolve(self.extractor_choice, device=self.device, weights=self.extractor_weights)

    def images(self, source: str, config: DataConfig, *, spare: int = 0) -> ImageData:
        """The images of a data set, and up to `spare` further ones of its pool; raises as `bench.data.load`."""
        return datasets.load(source, self.data_root, config, spare=spare, progress=self.progress)

    def evaluator(self, source: str, data: DataConfig, evaluation: EvaluationConfig) -> Evaluator:
        """What scores models of a data set, and as many real images as a model's samples."""
        images = self.images(source, data, spare=max(0, evaluation.samples - data.held_out))
        return Evaluator(
            images,
            self.extractor,
            evaluation,
            cache=self.cache,
            data_root=self.data_root,
            progress=self.progress,
        )


def choice_of(features: str) -> str:
    """The choice of the extractor that a record names, such as `inception@299`; `auto` where it is not the suite's."""
    return features if re.split("[/@]", features)[0] in EXTRACTORS else "auto"
