"""The reconstruction error by the dimensions in which a latent may move: the same pieces of every model's prior.

A latent as large as the image can copy any image, through an untrained model too. Held to few dimensions it can only
choose among images that the model makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
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


@dataclass(frozen=True, eq=False)
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

    @property
    def k(self) -> int:
        return len(self.base) if self.axes is None else self.axes.shape[1]

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
    directions, origin = (one.to(model.device) for one in _space(numbers, seed))
    pieces = [Piece.of(model, k, directions, origin) for k in numbers]
    errors = [float(each.double().mean()) for each in _inverted(model, pieces, images, config, seed)]
    labels = "dimensions of the latent", "reconstruction MSE"
    return [Curve("MSE by latent dimensions", "reconstruction", *labels, tuple(numbers), tuple(errors), log_x=True)]


def _inverted(
    model: InvertingModel, pieces: list[Piece], images: Tensor, config: EvaluationConfig, seed: int
) -> list[Tensor]:
    """The errors (n,) of the best decodes within the budget on each piece.

    Images are decoded on several pieces at once, as far as a block holds them: small batches cost more an image.
    """
    starts = [
        draw_normal(len(block), piece.k, generator=seeded(seed, "piece start", piece.k, index))
        for piece in pieces
        for index, block in enumerate(images.split(BLOCK))
    ]
    starts = list(torch.cat([F.pad(one, (0, pieces[-1].k - one.shape[1])) for one in starts]).split(BLOCK))
    targets = images.repeat(len(pieces), 1, 1, 1).split(BLOCK)
    owners = [piece for piece in pieces for _ in images]
    errors = []
    for index, (start, block) in enumerate(zip(starts, targets, strict=True)):
        rows = Rows.of(owners[index * BLOCK :][: len(block)])
        found = invert(
            lambda u, of_end, rows=rows: rows.decode_and_pull_back(model, u, of_end),
            start.to(model.device),
            block.to(model.device),
            budget=config.budget,
            optimizer=lambda latents: torch.optim.Adam(latents, lr=RATE),
            project=rows.project,
        )
        errors.append(reconstruction_mse(block, found.images.cpu()))
    return list(torch.cat(errors).split(len(images)))


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a batch on one piece after another: u (n, K), of which a row has as many as its piece has.

    The entries behind those are zero, and so are their gradients.
    """

    parts: list[tuple[Piece, int]]  # with numbers of rows

    @classmethod
    def of(cls, owners: list[Piece]) -> Rows:
        return cls([(piece, len(list(rows))) for piece, rows in itertools.groupby(owners)])

    def each(self, function: Callable[[Piece, Tensor, Tensor], Tensor], u: Tensor, other: Tensor) -> Tensor:
        """`function` of each piece, its own entries of `u` and its rows of `other`."""
        sizes = [n for _, n in self.parts]
        found = zip(self.parts, u.split(sizes), other.split(sizes), strict=True)
        return torch.cat([function(piece, own[:, : piece.k], rest) for (piece, _), own, rest in found])

    def project(self, u: Tensor) -> Tensor:
        return self.each(lambda piece, own, rest: _padded(NORMAL.project(own), rest), u, u)

    def decode_and_pull_back(self, model: InvertingModel, u: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        """As the model's, in u."""
        latents = self.each(lambda piece, own, _: piece.latents(own), u, u)
        end, gradient = model.decode_and_pull_back(latents, of_end)
        return end, self.each(lambda piece, own, of: _padded(piece.gradient(own, of), u), u, gradient)


def _padded(own: Tensor, like: Tensor) -> Tensor:
    """`own` (n, k) with zeros behind up to the width of `like`."""
    return F.pad(own, (0, like.shape[1] - own.shape[1]))


def _space(numbers: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Orthonormal directions (d, k), uniform among all, for the most dimensions that are fewer than d; and n0 (d,)."""
    *fewer, d = numbers
    generator = seeded(seed, "piece", d)
    origin = draw_normal(d, generator=generator)
    drawn = torch.randn(d, max(fewer, default=0), generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    return (q * r.diagonal().sign()).float(), origin  # the signs make it unique, and so uniform (Mezzadri 2007)
