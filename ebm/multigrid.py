"""A cascade of short-run chains: from coarse uniform noise, level by level, to the image's side.

Every level has an energy of its own. Its chain starts from the enlarged end of the level below, the coarsest one's from
uniform noise: x_1 = M_1(z), x_l = M_l(U x_{l-1}), where U is bilinear enlargement. Gao et al. 2018, arXiv 1709.08868,
learn such a pyramid from images of 1x1; here it begins as Nijkamp et al. 2019, arXiv 1904.09770, do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract.inversion import InvertingModel, OfEnd
from bench.contract.priors import UNIFORM
from bench.contract.scores import Curve, Diagnostics, Score
from bench.contract.shares import Rows
from bench.errors import NotFiniteError
from ebm.diagnostics import (
    LONG_CHAINS,
    STEP,
    chain_curves,
    gradient_norm,
    long_curves,
    mismatch_score,
    residual_curves,
)
from ebm.langevin import langevin
from ebm.short_run import ShortRunEBM, first_failure, pull_back

Named = TypeVar("Named", Score, Curve)


class MultigridEBM(InvertingModel):
    """Short-run models of rising sides, run as one generator. A latent is an image-shaped draw of the coarsest side."""

    prior = UNIFORM
    step_name = STEP
    ood_score_name = "energy"  # of the finest level

    def __init__(self, levels: Sequence[ShortRunEBM], *, inversion_lr: float):
        super().__init__()
        self.levels = nn.ModuleList(levels)  # coarse to fine
        self.sides = tuple(level.image_shape[1] for level in levels)
        self.image_shape, self.latent_shape = levels[-1].image_shape, levels[0].image_shape
        self.inversion_lr = inversion_lr  # Adam's rate
        # energy gradients of all levels together, though a coarse level's cost a fraction of the finest one's
        self.evaluations_per_sample = sum(level.settings.steps for level in levels)

    @property
    def sampling_dtype(self) -> str:
        return self.levels[-1].sampling_dtype

    @property
    def sampler_kernels(self) -> str:
        return self.levels[-1].sampler_kernels

    def cascade(
        self,
        z: Tensor,  # (n, C, s, s), s the coarsest side
        generator: torch.Generator | None = None,
        *,
        norms: Sequence[Tensor] | None = None,  # a (K,) for each level, see `langevin`
        observe: Callable[[int, int, Tensor, Tensor], None] | None = None,  # (level, k, x_k, dE/dx), before step k
        checked: bool = True,  # False: nothing waits for the device, and who called must look at the ends
        rows: Rows | None = None,  # those of `z` in a larger batch; see `ChainSettings`
    ) -> list[Tensor]:
        """The ends of all chains, coarse to fine, none of them clamped: noisy with a generator, noise-free without one.

        Nothing waits for the device before the last chain has been started. Raises NotFiniteError, naming level and
        step, when a chain leaves the finite numbers.
        """
        norms = (
            [torch.empty(level.settings.steps, device=z.device) for level in self.levels] if norms is None else norms
        )
        ends: list[Tensor] = []
        for index, level in enumerate(self.levels):
            settings = replace(level.settings, rows=rows)
            ends.append(
                langevin(
                    level.energy,
                    enlarged(ends[-1], self.sides[index]) if ends else z,
                    settings if generator is not None else replace(settings, noise_std=0.0),
                    generator=generator,
                    norms=norms[index],
                    observe=partial(observe, index) if observe is not None else None,
                )
            )
        if checked and not torch.isfinite(ends[-1]).all():  # what is not finite in one level stays so in the next
            raise self.not_finite(ends, norms)
        return ends

    def not_finite(self, ends: Sequence[Tensor], norms: Sequence[Tensor]) -> NotFiniteError:
        """The error of a cascade with an end that is not finite; `norms` (K,) are the gradients' of each level."""
        index = next(i for i, end in enumerate(ends) if not torch.isfinite(end).all())
        step, steps = first_failure(norms[index]), len(norms[index])
        return NotFiniteError(
            f"the Langevin chain of level {self.sides[index]} is not finite from step {step} of {steps} on"
        )

    def decode(self, latents: Tensor) -> Tensor:
        """M(z): the noise-free cascade's end, clamped to [-1, 1]."""
        return self.cascade(latents)[-1].clamp(-1, 1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """The noisy cascade's end, clamped to [-1, 1]."""
        return self.cascade(self.sample_latents(n, generator), generator)[-1].clamp(-1, 1)

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(latents, lr=self.inversion_lr)

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        if not all(level.energy.piecewise_linear for level in self.levels):
            return cascade_pull_back(list(self.levels), z, of_end)
        end = self.cascade(z)[-1]
        v = of_end(end)
        for side in reversed(self.sides[:-1]):  # the chains' Jacobians are I almost everywhere: what is left is U^T
            v = enlarged_transposed(v, side)
        return end, v

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor:
        """The noisy cascade at `frames` steps, evenly spaced over all levels' from 0 to their sum, clamped to [-1, 1].

        (frames, n, C, H, W): coarse frames are enlarged by repeating pixels. Between two levels, the finer one's start
        is shown.
        """
        total = self.evaluations_per_sample
        wanted = [round(i * total / (frames - 1)) for i in range(frames)]
        before = [sum(level.settings.steps for level in self.levels[:index]) for index in range(len(self.levels))]
        seen: dict[int, Tensor] = {}

        def observe(index: int, k: int, x: Tensor, _: Tensor) -> None:
            if before[index] + k in wanted:
                seen[before[index] + k] = F.interpolate(x, self.image_shape[1:], mode="nearest").clone()

        seen[total] = self.cascade(self.sample_latents(n, generator), generator, observe=observe)[-1]
        return torch.stack([seen[k] for k in wanted]).clamp(-1, 1)

    def ood_score(self, images: Tensor) -> Tensor:
        """The finest level's energy E (n,)."""
        return self.levels[-1].ood_score(images)

    def at_compute(self, factor: float) -> MultigridEBM:
        """The same energies with max(1, round(factor K)) steps at every level."""
        return MultigridEBM([level.at_compute(factor) for level in self.levels], inversion_lr=self.inversion_lr)

    def diagnose(
        self, n: int, generator: torch.Generator, *, train: Tensor, samples: Callable[[], Tensor], far: bool
    ) -> Diagnostics:
        """As for the single chain, of every level's chain from its own start; the mismatch is the finest energy's."""
        scores: list[Score] = []
        curves: list[Curve] = []
        for level, x in zip(self.levels, self._starts(n, generator), strict=True):
            norms, energies = chain_curves(level.energy, x, level.settings, generator)
            layers = residual_curves(level.energy, x, level.settings, generator)
            scores += [self._named(gradient_norm(norms, n), level)] if norms else []
            curves += [self._named(one, level) for one in (norms, energies, *layers) if one]
        if len(train) >= 2:
            scores.append(mismatch_score(self.levels[-1].energy, train, samples()))
        if far:
            for level, x in zip(self.levels, self._starts(LONG_CHAINS, generator), strict=True):
                found = long_curves(level.energy, x, level.settings, generator)
                curves += [self._named(one, level) for one in found]
        return Diagnostics(tuple(scores), tuple(curves))

    def _starts(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Where the chains of each level start in a noisy cascade: noise, then enlarged ends."""
        noise = self.sample_latents(n, generator)
        ends = self.cascade(noise, generator)
        return [noise] + [enlarged(end, side) for end, side in zip(ends[:-1], self.sides[1:], strict=True)]

    def _named(self, one: Named, level: ShortRunEBM) -> Named:
        """The finest level's scores and curves keep their names, to compare with a single chain's; others name their
        side, and their curves have plots of their own alone.
        """
        side = level.image_shape[1]
        if side == self.sides[-1]:
            return one
        name = f"{one.name}, level {side}"
        if isinstance(one, Score):
            return replace(one, name=name, label=name)
        return replace(one, name=name, title=f"{one.title or one.name}, level {side}", figures={})


def enlarged(x: Tensor, side: int) -> Tensor:
    """U: images (n, C, s, s) as (n, C, side, side), bilinear with `align_corners=False`."""
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def enlarged_transposed(g: Tensor, side: int) -> Tensor:
    """U^T: (n, C, S, S) -> (n, C, side, side), for an enlargement from `side` to S."""
    # bilinear enlargement is linear enlargement of the rows, then of the columns: U x = A x A^T
    identity = torch.eye(side, dtype=g.dtype, device=g.device)[None]
    transposed = F.interpolate(identity, size=g.shape[-1], mode="linear", align_corners=False)[0]  # A^T (side, S)
    return transposed @ g @ transposed.T


def reduced(images: Tensor, side: int) -> Tensor:
    """Images (n, C, S, S) as means over squares (n, C, side, side); `side` divides S."""
    return F.avg_pool2d(images, images.shape[-1] // side)


def cascade_pull_back(levels: list[ShortRunEBM], z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
    """M(z) and v^T dM/dz for v = of_end(M(z)) of a cascade of smooth energies.

    The gradient at a level's end is that at the next one's start, transposed through the enlargement; about sqrt(K)
    states of every level are kept.
    """
    level, *finer = levels
    if not finer:
        return pull_back(level, z, of_end)
    finest = z

    def of_coarse_end(end: Tensor) -> Tensor:
        nonlocal finest
        finest, gradient = cascade_pull_back(finer, enlarged(end, finer[0].image_shape[1]), of_end)
        return enlarged_transposed(gradient, level.image_shape[1])

    _, gradient = pull_back(level, z, of_coarse_end)
    return finest, gradient
