"""The contract: what the harness may ask of a generative model and of its trainer. It asks nothing else.

A model family plugs in as one *factory*: a callable with the attribute `Config` (a frozen dataclass derived from
`ModelConfig`, with a default for every field) that is called as

    trainer = factory(config, image_shape, generator=generator, device=device)

and returns a `Trainer`. A trainer class with that constructor is such a factory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from bench.contract.config import ModelConfig
from bench.contract.priors import Prior, mix_normal
from bench.contract.scores import Diagnostics
from bench.contract.seeds import seeded

Observer = Callable[
    [int, Tensor], None
]  # (decodes, least mean squared error so far of each image (n,)); not to be kept


class GenerativeModel(nn.Module):
    """A model of images. Images and decoded latents are float32, NCHW, in [-1, 1].

    `sample` and `decode` set their own gradient mode; call them under `no_grad`, never under `inference_mode`.
    Generators live on the model's device. Nothing draws from the global random state.
    """

    image_shape: tuple[int, int, int]  # C, H, W
    prior: Prior  # a model that names it, and its latents' shape, need not define `sample_latents` and `mix_latents`
    latent_shape: tuple[int, ...]  # of one latent
    # network evaluations that one sample costs: 1 for a decoder; those of nets of any size count alike
    evaluations_per_sample: int = 1
    reconstructs_by_inversion: bool = False  # True: `reconstruct` spends its budget of decodes; False: it needs none
    step_name: str = "network evaluation"  # what a sampler makes so many of for one sample
    paths_run_on: bool = True  # more compute takes a trajectory further; False: it takes finer steps to the same end
    ood_score_name: str = ""  # what `ood_score` returns: "energy"

    @property
    def sampler(self) -> nn.Module:
        """The part of the model that a sample needs; its size is reported as the sampler's parameters."""
        return self

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def sampling_dtype(self) -> str:
        """What a sample is computed in, for the record: the weights' type, unless the sampler rounds to another."""
        return str(next(self.parameters()).dtype).removeprefix("torch.")

    @property
    def sampler_kernels(self) -> str:
        """For the record: which of several kernels its sampler runs on a GPU, equal but for rounding; empty: none."""
        return ""

    def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
        """A draw of `n` latents (n, ...) from the prior."""
        return self.prior.draw(n, *self.latent_shape, generator=generator)

    @property
    def latent_dimensions(self) -> int:
        """The numbers that one latent holds."""
        return self.sample_latents(1, seeded("latent", device=self.device))[0].numel()

    def decode(self, latents: Tensor) -> Tensor:
        """Images (n, C, H, W) in [-1, 1]: a deterministic function of each latent alone."""
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` images (n, C, H, W) in [-1, 1]."""
        return self.decode(self.sample_latents(n, generator))

    def mix_latents(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """The point at `t` in [0, 1] on a path from `a` to `b` that stays on the prior."""
        return self.prior.mix(a, b, t)

    def mix_latents_paper(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """rho a + sqrt(1 - rho^2) b with rho = cos(t pi/2): the path of Nijkamp et al. 2019 (arXiv 1904.09770), evenly
        spaced in the angle. For a normal prior it is `mix_latents` itself; for a uniform one it leaves the support.
        """
        return mix_normal(a, b, t)

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        """Reconstructions (n, C, H, W) in [-1, 1]; latent inversion spends at most `budget` decodes an image.

        `observe`, given only where `reconstructs_by_inversion`, is told the least squared errors after each decode.
        """
        raise NotImplementedError

    # What follows is optional: None or nothing stands for a model that has no such thing, and leaves its scores out.

    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor | None:
        """The latents (n, ...) whose decodes are the reconstructions of `images`: ends of interpolations."""
        return None

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor | None:
        """From noise to image: (frames, n, C, H, W) along the sampler, or None for a model that makes them at once."""
        return None

    def ood_score(self, images: Tensor) -> Tensor | None:
        """A number (n,) for each image (n, C, H, W) in [-1, 1], higher for less likely ones, as `ood_score_name`."""
        return None

    def at_compute(self, factor: float) -> GenerativeModel | None:
        """The same weights with `factor` times the network evaluations a sample, rounded, at least 1 of every net."""
        return None

    def diagnose(
        self,
        n: int,  # samples whose making is looked at
        generator: torch.Generator,
        *,
        train: Tensor,  # (2 m, C, H, W) in [-1, 1]: training images
        samples: Callable[[], Tensor],  # gives m samples (m, C, H, W) in [-1, 1], those that are scored
        far: bool,  # also follow a few samplers far beyond their own length, which takes long
    ) -> Diagnostics:
        """Scores and curves of what happens inside the sampler, in the group "diagnostics"."""
        return Diagnostics()


class Trainer(Protocol):
    """Owns losses and optimizers; hides two optimizers, an inner chain or averaged weights from the loop.

    One whose updates several processes can make together has a `share` as well (`bench/contract/shares.py`).
    """

    Config: ClassVar[type[ModelConfig]]
    config: ModelConfig
    model: GenerativeModel  # in eval mode between steps; what is sampled, averaged weights included
    networks: tuple[nn.Module, ...]  # everything that is trained

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (batch_size, C, H, W) in [-1, 1]; named scalars for the log."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs: nested dicts and lists of tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a state back whose tensors are on the CPU; for optimizers `bench.contract.optimizers.load_optimizer`."""
        ...


def count_parameters(*networks: nn.Module) -> int:
    """The number of trainable scalars in all `networks` together."""
    return sum(p.numel() for net in networks for p in net.parameters())
