"""The reconstruction error by the dimensions in which a latent may move: the same pieces of every model's prior.

A latent as large as the image can copy any image, through an untrained model too. Held to few dimensions it can only
choose among images that the model makes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contract.inversion import InvertingModel, OfEnd, invert
from bench.contract.model import GenerativeModel
from bench.contract.priors import NORMAL, Prior, draw_normal
from bench.contract.scores import Curve
from bench.contract.seeds import BLOCK, seeded
from bench.evaluation.config import EvaluationConfig
from bench.metrics.images import reconstruction_mse

# Adam's, in the standard normal space that every piece is moved in. After 50 decodes on digits 0.3 is nearer to what
# 300 reach than 0.1 is, for EBM, DCGAN and VAE alike.
RATE = 0.3


@dataclass(frozen=True)
class Piece:
    """A k-dimensional piece of a prior: z(u) = F((I - A A^T) n0 + A u) for u in R^k.

    F makes the prior's draws of standard normal ones (2 Phi - 1 for a uniform prior, itself for a normal one), n0 is a
    standard normal draw, and A (d, k) has orthonormal columns. So z(u) is a draw of the prior where u is a standard
    normal one: given n0 and A, of the prior conditioned on the affine space n0 + span A, which holds every u.
    """

    prior: Prior
    shape: tuple[int, ...]  # of a latent
    base: Tensor  # (d,), (I - A A^T) n0
    axes: Tensor | None  # (d, k), A; None where k = d and the piece is the whole prior

    @classmethod
    def of(cls, model: InvertingModel, k: int, directions: Tensor, origin: Tensor) -> Piece:
        """The piece along the first k of `directions` (d, ...) through `origin` n0 (d,): it holds those of fewer."""
        if k == len(origin):
            return cls(model.prior, model.latent_shape, torch.zeros_like(origin), None)
        axes = directions[:, :k]
        return cls(model.prior, model.latent_shape, origin - axes @ (axes.T @ origin), axes)

    def normal(self, u: Tensor) -> Tensor:
        """(n, k) -> (n, d): where u lies in the prior's standard normal space."""
        return self.base + (u if self.axes is None else u @ self.axes.T)

    def latents(self, u: Tensor) -> Tensor:
        """z(u): (n, k) -> (n, ...)."""
        return self.prior.of_normal(self.normal(u)).unflatten(1, self.shape)

    def gradient(self, u: Tensor, of_latents: Tensor) -> Tensor:
        """(n, k): v^T dz/du for v = `of_latents` (n, ...)."""
        gradient = of_latents.flatten(1) * self.prior.slope(self.normal(u))
        return gradient if self.axes is None else gradient @ self.axes


def counted(dimensions: int, config: EvaluationConfig) -> list[int]:
    """The dimensions of the curve: those of the settings that are fewer than the latent's, and the latent's."""
    return [*sorted(k for k in config.dimensions if k < dimensions), dimensions]


def curve(model: GenerativeModel, held_out: Tensor, config: EvaluationConfig, seed: int) -> list[Curve]:
    """Mean error of `held_out` images (n, C, H, W) in [-1, 1], CPU, by dimensions; nothing if it has no inversion.

    n0, A and the starts are functions of the seed. u moves by Adam within the shell of a standard normal prior's draws.
    """
    if not config.dimensions or not isinstance(model, InvertingModel):
        return []
    images = held_out[: config.dimension_images]
    numbers = counted(model.latent_dimensions, config)
    directions, origin = _space(numbers, seed)
    errors = []
    for k in numbers:
        piece = Piece.of(model, k, directions.to(model.device), origin.to(model.device))
        errors.append(float(_inverted(model, piece, images, config, seed).double().mean()))
    labels = "dimensions of the latent", "reconstruction MSE"
    return [Curve("MSE by latent dimensions", "reconstruction", *labels, tuple(numbers), tuple(errors), log_x=True)]


def _inverted(model: InvertingModel, piece: Piece, images: Tensor, config: EvaluationConfig, seed: int) -> Tensor:
    """The errors (n,) of the best decodes within the budget on the piece."""

    def decode_and_pull_back(u: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        end, gradient = model.decode_and_pull_back(piece.latents(u), of_end)
        return end, piece.gradient(u, gradient)

    k = len(piece.base) if piece.axes is None else piece.axes.shape[1]
    errors = []
    for index, block in enumerate(images.split(BLOCK)):
        start = draw_normal(len(block), k, generator=seeded(seed, "piece start", k, index))
        found = invert(
            decode_and_pull_back,
            start.to(model.device),
            block.to(model.device),
            budget=config.budget,
            optimizer=lambda latents: torch.optim.Adam(latents, lr=RATE),
            project=NORMAL.project,
        )
        errors.append(reconstruction_mse(block, found.images.cpu()))
    return torch.cat(errors)


def _space(numbers: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Orthonormal directions (d, k), uniform among all, for the most dimensions that are fewer than d; and n0 (d,)."""
    *fewer, d = numbers
    generator = seeded(seed, "piece", d)
    origin = draw_normal(d, generator=generator)
    drawn = torch.randn(d, max(fewer, default=0), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    return (q * r.diagonal().sign()).float(), origin  # the signs make it unique, and so uniform (Mezzadri 2007)
