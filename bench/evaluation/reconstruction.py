"""Reconstruction of held-out images: errors, and how they fall with the decodes that are spent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.contract.scores import Curve, Score
from bench.contract.seeds import BLOCK, seeded
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.entries import means
from bench.evaluation.pictures import COLUMNS, Picture
from bench.metrics import bootstrap
from bench.metrics.images import psnr, reconstruction_mse, ssim

SMALLEST = 7  # side in pixels that SSIM needs
MEASURES = {  # name -> label, better, of the images and their reconstructions, note
    "MSE": ("reconstruction MSE", "lower", reconstruction_mse, "per pixel and channel, images in [-1, 1]"),
    "PSNR": ("PSNR", "higher", psnr, "in dB, mean over images"),
    "SSIM": ("SSIM", "higher", ssim, "windows of 7x7 pixels"),
}


@dataclass(frozen=True)
class Reconstruction:
    """Images, what a model made of them, and the mean of the least error so far by decodes an image."""

    images: Tensor  # (n, C, H, W) in [-1, 1], CPU
    made: Tensor  # the same shape
    by_decodes: dict[int, float]

    def scores(self, how: How, *, seed: int, intervals: bool) -> list[Score]:
        """MSE, PSNR and SSIM; `how` says at what budget."""
        return compare(self.images, self.made, how, seed=seed, intervals=intervals)

    def curve(self) -> Curve:
        """Mean least error so far against decodes spent; the mark is the budget of the scores."""
        decodes, errors = tuple(self.by_decodes), tuple(self.by_decodes.values())
        labels = "decodes per image", "reconstruction MSE, best so far"
        return Curve("MSE by decodes", "reconstruction", *labels, decodes, errors, log_x=True, mark=decodes[-1])

    def pictures(self) -> dict[str, Picture]:
        shown = min(COLUMNS, len(self.images))
        return {
            "originals": Picture.of(self.images[:shown], shown),
            "reconstructions": Picture.of(self.made[:shown], shown),
        }


@dataclass(frozen=True)
class How:
    """How reconstructions were made."""

    budget: int
    method: str
    budget_unit: str = "decodes per image"
    made_of: str | None = None  # what stands in for reconstructions where no model made any


def compare(images: Tensor, made: Tensor, how: How, *, seed: int = 0, intervals: bool = False) -> list[Score]:
    """The scores of images (n, C, H, W) in [-1, 1] and their reconstructions; SSIM from sides of 7 on."""
    names = [name for name in MEASURES if name != "SSIM" or min(images.shape[2:]) >= SMALLEST]
    found = means({name: MEASURES[name][2](images, made) for name in names}, seed=seed, intervals=intervals)
    return [
        Score(
            name,
            MEASURES[name][0],
            "reconstruction",
            mean.value,
            MEASURES[name][1],
            spread=mean.spread,
            spread_of=f"{len(images)} images",
            interval=mean.interval,
            interval_of=bootstrap.INTERVAL_OF if mean.interval else "",
            note=MEASURES[name][3],
            n=len(images),
            **vars(how),
        )
        for name, mean in found.items()
    ]


def reconstruct(model: GenerativeModel, images: Tensor, config: EvaluationConfig, seed: int) -> Reconstruction:
    """Reconstructions of `images` (n, C, H, W) in [-1, 1], CPU: the best over `config.restarts` starts.

    Raises NotFiniteError where no finite decode was met.
    """
    made, errors = [], []
    for index, block in enumerate(images.split(BLOCK)):
        best, least = _block(model, block.to(model.device), config, seed, index)
        made.append(best.cpu())
        errors.append(least)
    by_decodes = {d: float(torch.cat([least[d] for least in errors]).double().mean()) for d in errors[0]}
    return Reconstruction(images, torch.cat(made), by_decodes)


def _block(
    model: GenerativeModel, images: Tensor, config: EvaluationConfig, seed: int, index: int
) -> tuple[Tensor, dict[int, Tensor]]:
    """Reconstructions of a block, and of each image the least error after so many decodes, (n,) each."""
    if not model.reconstructs_by_inversion:
        made = model.reconstruct(images, config.budget, seeded(seed, "reconstruct", index, device=model.device))
        return made, {1: reconstruction_mse(images, made).cpu()}
    budget = config.budget // config.restarts
    wanted, least = decode_counts(budget * config.restarts), {}
    best, so_far = images, torch.full((len(images),), torch.inf, device=images.device)
    for restart in range(config.restarts):
        before, spent = so_far, restart * budget

        def observe(decodes: int, errors: Tensor, before: Tensor = before, spent: int = spent) -> None:
            if spent + decodes in wanted:
                least[spent + decodes] = torch.minimum(before, errors).cpu()

        generator = seeded(seed, "reconstruct", index, *([restart] if restart else []), device=model.device)
        made = model.reconstruct(images, budget, generator, observe)
        errors = reconstruction_mse(images, made)
        best = torch.where((errors < so_far)[:, None, None, None], made, best)
        so_far = torch.minimum(so_far, errors)
    least[wanted[-1]] = so_far.cpu()
    return best, least


def decode_counts(budget: int) -> list[int]:
    """1, 2, 3, 5, 10, 20, 30, 50, ... up to `budget`, which is the last."""
    counts = [m * 10**power for power in range(len(str(budget))) for m in (1, 2, 3, 5)]
    return [*(count for count in counts if count < budget), budget]


def settings(model: GenerativeModel, config: EvaluationConfig) -> How:
    """How a model's reconstructions are made."""
    each = config.budget // config.restarts
    if not model.reconstructs_by_inversion:
        return How(1, "encoder")
    method = "latent inversion" + (f", best of {config.restarts} starts" if config.restarts > 1 else "")
    return How(each * config.restarts, method)
