"""One evaluation for every model: feature metrics, reconstruction, interpolation, throughput, pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bench import metrics
from bench.data import ImageData
from bench.errors import UserError
from bench.features import FeatureExtractor, Features, extract
from bench.images import from_uint8, sheet, to_uint8
from bench.metrics.images import reconstruction_mse, smoothness
from bench.model import GenerativeModel, require
from bench.seeds import BLOCK, in_blocks, seeded
from bench.throughput import sampler_throughput

COLUMNS, ROWS = 8, 8  # of the picture of samples
STRIPS = 6  # rows of interpolations and of chains
RANGE_TOLERANCE = 1e-4  # float rounding at the ends of [-1, 1]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, on how many images; every number of it stands in the record."""

    samples: int = 1000  # generated images that are scored
    real: int = 0  # training images they are held against; 0 for all
    reconstructions: int = 1000  # held-out images, at most
    budget: int = 50  # decodes an image that latent inversion may spend
    paths: int = 64  # interpolation paths
    points: int = 9  # on a path, ends included
    frames: int = 8  # of a chain's picture
    throughput_batch: int = 64
    throughput_repeats: int = 5

    def __post_init__(self) -> None:
        for name in ("reconstructions", "budget", "paths", "throughput_batch", "throughput_repeats"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "samples", self.samples >= ROWS * COLUMNS, f"at least {ROWS * COLUMNS}")
        require(self, "real", self.real == 0 or self.real >= 2, "0 (all) or at least 2")
        require(self, "points", self.points >= 3, "at least 3")
        require(self, "frames", self.frames >= 2, "at least 2")


@dataclass(frozen=True)
class Evaluation:
    metrics: list[dict[str, Any]]
    throughput: dict[str, Any]
    pictures: dict[str, Picture]


@dataclass(frozen=True)
class Picture:
    """Images side by side: a uint8 sheet (C, rows*H, columns*W) and how it is divided."""

    image: Tensor
    rows: int
    columns: int
    labels: tuple[str, ...] = ()  # of the columns

    @classmethod
    def of(cls, images: Tensor, columns: int, labels: Iterable[str] = ()) -> Picture:
        """Images (n, C, H, W) in [-1, 1], row by row; n a multiple of `columns`."""
        return cls(sheet(to_uint8(images).cpu(), columns), len(images) // columns, columns, tuple(labels))


class Evaluator:
    """Scores models of one data set; the real images' features are computed once."""

    def __init__(
        self, data: ImageData, extractor: FeatureExtractor, config: EvaluationConfig, *, progress: bool = True
    ):
        self.data, self.extractor, self.config, self.progress = data, extractor, config, progress

    @cached_property
    def real(self) -> Features:
        """Features of the first `config.real` training images, which a seed has put in random order."""
        images = self.data.train[: self.config.real or None]
        return extract(self.extractor, images.split(BLOCK), progress=self._title("real images"), total=len(images))

    @torch.no_grad()
    def evaluate(self, model: GenerativeModel, seed: int) -> Evaluation:
        """All that is measured of a model, as a function of its weights and the evaluation's seed.

        Raises NotFiniteError when it makes images that are not finite, UserError when they break the contract.
        """
        throughput = sampler_throughput(
            model, batch_size=self.config.throughput_batch, repeats=self.config.throughput_repeats, seed=seed
        )
        kept: list[Tensor] = []
        generated = extract(
            self.extractor,
            self._samples(model, seed, kept.append),
            progress=self._title("samples"),
            total=self.config.samples,
        )
        scores = metrics.score(self.real, generated, self.extractor, seed=seed)
        reconstruction, pictures = self._reconstruct(model, seed)
        smooth, path_pictures = self._interpolate(model, seed)
        pictures |= path_pictures | self._chain(model, seed)
        pictures["samples"] = Picture(sheet(torch.cat(kept)[: ROWS * COLUMNS], COLUMNS), ROWS, COLUMNS)
        return Evaluation([*scores, reconstruction, *smooth], throughput, pictures)

    def _samples(self, model: GenerativeModel, seed: int, keep: Callable[[Tensor], None]) -> Iterator[Tensor]:
        for index, images in enumerate(
            in_blocks(model.sample, self.config.samples, seed, "sample", device=model.device)
        ):
            self._check(images, model)
            block = to_uint8(images).cpu()
            if index * BLOCK < ROWS * COLUMNS:
                keep(block)
            yield block

    def _check(self, images: Tensor, model: GenerativeModel) -> None:
        expected = self.data.image_shape
        if tuple(images.shape[1:]) != tuple(expected):
            raise UserError(
                f"the model made images of shape {tuple(images.shape[1:])}, not {tuple(expected)}: "
                "sample must return (n, C, H, W)"
            )
        extreme = images.abs().max().item()
        if extreme > 1 + RANGE_TOLERANCE:
            raise UserError(f"the model made a pixel of magnitude {extreme:.3g}: sample must return images in [-1, 1]")

    def _reconstruct(self, model: GenerativeModel, seed: int) -> tuple[dict[str, Any], dict[str, Picture]]:
        images = from_uint8(self.data.held_out[: self.config.reconstructions])
        made = []
        for index, block in enumerate(images.split(BLOCK)):
            generator = seeded(seed, "reconstruct", index, device=model.device)
            made.append(model.reconstruct(block.to(model.device), self.config.budget, generator).cpu())
        reconstructions = torch.cat(made)
        errors = reconstruction_mse(images, reconstructions)
        decodes = self.config.budget if model.reconstructs_by_inversion else 1
        metric = {
            "name": "MSE",
            "label": "reconstruction MSE",
            "value": errors.mean().item(),
            "spread": errors.std().item() if len(errors) > 1 else None,
            "spread_of": f"{len(errors)} images",
            "better": "lower",
            "n": len(errors),
            "budget": decodes,
            "budget_unit": "decodes per image",
            "method": "latent inversion" if model.reconstructs_by_inversion else "encoder",
            "lead": False,
            "note": "per pixel and channel, images in [-1, 1]",
        }
        shown = min(COLUMNS, len(images))
        pictures = {
            "originals": Picture.of(images[:shown], shown),
            "reconstructions": Picture.of(reconstructions[:shown], shown),
        }
        return metric, pictures

    def _interpolate(self, model: GenerativeModel, seed: int) -> tuple[list[dict[str, Any]], dict[str, Picture]]:
        points = self.config.points

        def paths(n: int, generator: torch.Generator) -> Tensor:
            a, b = model.sample_latents(n, generator), model.sample_latents(n, generator)
            return torch.stack([model.decode(model.mix_latents(a, b, i / (points - 1))) for i in range(points)], dim=1)

        made = torch.cat([p.cpu() for p in in_blocks(paths, self.config.paths, seed, "path", device=model.device)])
        measured = smoothness(made)
        proper = measured["pairs"] - measured["degenerate pairs"]
        scores = [
            {
                "name": name,
                "label": f"interpolation {name}",
                "value": measured[name],
                "spread": measured[f"{name} sd"],
                "spread_of": f"{proper} paths",
                "better": "lower",
                "n": proper,
                "points": points,
                "lead": False,
                "note": f"{measured['degenerate pairs']} paths with equal ends left out" if proper < len(made) else "",
            }
            for name in ("length ratio", "largest step")
            if proper
        ]
        strips = made[:STRIPS]
        labels = [f"{i / (points - 1):.2f}" for i in range(points)]
        return scores, {"interpolations": Picture.of(strips.flatten(0, 1), points, labels)}

    def _chain(self, model: GenerativeModel, seed: int) -> dict[str, Picture]:
        frames = min(self.config.frames, model.evaluations_per_sample + 1)
        if frames < 2:
            return {}
        path = model.trajectory(STRIPS, seeded(seed, "chain", device=model.device), frames)
        if path is None:
            return {}
        labels = [str(round(i * model.evaluations_per_sample / (frames - 1))) for i in range(frames)]
        return {"chain": Picture.of(path.transpose(0, 1).flatten(0, 1), frames, labels)}

    def _title(self, what: str) -> str | None:
        return f"{self.data.name}: features of {what}" if self.progress else None
