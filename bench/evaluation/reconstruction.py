"""Reconstruction of held-out images: errors, and how they fall with the decodes that are spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bench.contract.inversion import InvertingModel
from bench.contract.model import GenerativeModel
from bench.contract.scores import Better, Curve, Score
from bench.contract.seeds import BLOCK, seeded
from bench.evaluation.config import EvaluationConfig
from bench.evaluation.entries import means
from bench.evaluation.pictures import COLUMNS, Picture
from bench.metrics import bootstrap
from bench.metrics.images import psnr, reconstruction_mse, ssim

SMALLEST = 7  # side in pixels that SSIM needs
INVERTED, INPAINTING = "MSE, inverted", "in-painting MSE"


class Measure(NamedTuple):
    """A number for each image, as a column of the tables shows its mean."""

    label: str
    better: Better
    note: str


_PIXELS = "per pixel and channel, images in [-1, 1]"
MEASURES = {  # by the names of the scores
    "MSE": Measure("reconstruction MSE", "lower", _PIXELS),
    "PSNR": Measure("PSNR", "higher", "in dB, mean over images"),
    "SSIM": Measure("SSIM", "higher", "windows of 7x7 pixels"),
    INVERTED: Measure(
        "inverted reconstruction MSE", "lower", "by latent inversion, also of a model that has an encoder"
    ),
    INPAINTING: Measure("in-painting MSE", "lower", f"of the right half, of which nothing is seen; {_PIXELS}"),
}
_OF = {"MSE": reconstruction_mse, "PSNR": psnr, "SSIM": ssim}  # images and reconstructions
_Search = Callable[..., Tensor]  # as `GenerativeModel.reconstruct`


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
    names = [name for name in _OF if name != "SSIM" or min(images.shape[2:]) >= SMALLEST]
    return summed({name: _OF[name](images, made) for name in names}, how, seed=seed, intervals=intervals)


def summed(values: dict[str, Tensor], how: How, *, seed: int = 0, intervals: bool = False) -> list[Score]:
    """The means of numbers (n,) for each image, by the names of `MEASURES`, as scores."""
    return [
        Score(
            name,
            MEASURES[name].label,
            "reconstruction",
            mean.value,
            MEASURES[name].better,
            spread=mean.spread,
            spread_of=f"{len(values[name])} images",
            interval=mean.interval,
            interval_of=bootstrap.INTERVAL_OF if mean.interval else "",
            note=MEASURES[name].note,
            n=len(values[name]),
            **vars(how),
        )
        for name, mean in means(values, seed=seed, intervals=intervals).items()
    ]


def reconstruct(model: GenerativeModel, images: Tensor, config: EvaluationConfig, seed: int) -> Reconstruction:
    """Reconstructions of `images` (n, C, H, W) in [-1, 1], CPU: the best over `config.restarts` starts.

    Raises NotFiniteError where no finite decode was met.
    """
    made, errors = [], []
    for index, block in enumerate(images.split(BLOCK)):
        block = block.to(model.device)
        if model.reconstructs_by_inversion:
            best, least = _searched(model.reconstruct, block, config, seed, index)
        else:
            best = model.reconstruct(block, config.budget, seeded(seed, "reconstruct", index, device=model.device))
            least = {1: reconstruction_mse(block, best).cpu()}
        made.append(best.cpu())
        errors.append(least)
    by_decodes = {d: float(torch.cat([least[d] for least in errors]).double().mean()) for d in errors[0]}
    return Reconstruction(images, torch.cat(made), by_decodes)


def inverted(
    model: GenerativeModel, back: Reconstruction, config: EvaluationConfig, seed: int, *, intervals: bool
) -> list[Score]:
    """The error of latent inversion within the budget, of each model that can be inverted: nothing of another one.

    It is that of `back` where the model reconstructs in this way.
    """
    if not isinstance(model, InvertingModel):
        return []
    made = back.made
    if not model.reconstructs_by_inversion:
        blocks = enumerate(back.images.split(BLOCK))
        found = [_searched(_inversion(model), one.to(model.device), config, seed, index)[0] for index, one in blocks]
        made = torch.cat(found).cpu()
    errors = {INVERTED: reconstruction_mse(back.images, made)}
    return summed(errors, _how_inverted(config), seed=seed, intervals=intervals)


def _inversion(model: InvertingModel) -> _Search:
    return lambda *arguments: model.invert(*arguments).images


def _searched(
    search: _Search, images: Tensor, config: EvaluationConfig, seed: int, index: int
) -> tuple[Tensor, dict[int, Tensor]]:
    """Reconstructions of a block, and of each image the least error after so many decodes, (n,) each."""
    budget = config.budget // config.restarts
    wanted, least = decode_counts(budget * config.restarts), {}
    best, so_far = images, torch.full((len(images),), torch.inf, device=images.device)
    for restart in range(config.restarts):
        before, spent = so_far, restart * budget

        def observe(decodes: int, errors: Tensor, before: Tensor = before, spent: int = spent) -> None:
            if spent + decodes in wanted:
                least[spent + decodes] = torch.minimum(before, errors).cpu()

        generator = seeded(seed, "reconstruct", index, *([restart] if restart else []), device=images.device)
        made = search(images, budget, generator, observe)
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
    return _how_inverted(config) if model.reconstructs_by_inversion else How(1, "encoder")


def _how_inverted(config: EvaluationConfig) -> How:
    each = config.budget // config.restarts
    method = "latent inversion" + (f", best of {config.restarts} starts" if config.restarts > 1 else "")
    return How(each * config.restarts, method)
