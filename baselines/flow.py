"""Flow matching: a network learns the velocity that carries noise to images (Lipman et al. 2023, arXiv 2210.02747).

The conditional paths are straight lines from noise to image: the paper's optimal-transport paths (section 4.1, example
II) with sigma_min = 0, as in rectified flow (Liu et al. 2022, arXiv 2209.03003, equation 1).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines import ode
from baselines.nets import laid_out
from baselines.unet import UNet
from bench.contract.averaging import average
from bench.contract.config import ModelConfig, require
from bench.contract.inversion import InvertingModel, OfEnd, pull_back
from bench.contract.model import Observer
from bench.contract.optimizers import load_optimizer
from bench.contract.priors import NORMAL, draw_normal
from bench.contract.seeds import seeded_init
from bench.errors import NotFiniteError

RECONSTRUCT = ("inversion", "backward")
GRAPHS = 2**28  # bytes that the graphs of an inversion's steps may hold, but for the last one's


@dataclass(frozen=True)
class SamplerSettings:
    """How a velocity field makes images, and latents of images; see `FlowConfig`."""

    solver: str
    evaluations: int
    reconstruct: str
    inversion_lr: float


@dataclass(frozen=True)
class FlowConfig(ModelConfig):
    width: int = 32  # channels of the finest level, the others have twice as many
    levels: int = 4  # resolutions, at most: the coarsest has a side of at least 4
    blocks: int = 1  # residual blocks of a level, each way
    lr: float = 1e-3
    beta1: float = 0.9
    clip: float = 1.0  # the gradient's largest norm; 0: any
    ema: float = 0.999  # decay of the averaged weights that sample; 0 samples with the trained ones
    solver: str = (
        "midpoint"  # or euler; or heun, which leaves grain unless its evaluations are odd (see docs/models.md)
    )
    evaluations: int = 20  # of the network, a sample; two for each step of midpoint or heun
    reconstruct: str = "inversion"  # by the suite's budget of decodes; or backward, along the flow from image to noise
    inversion_lr: float = 0.1  # Adam's rate for latent inversion

    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "width": 4, "evaluations": 4}
    search: ClassVar[Mapping[str, Any]] = {
        "lr": (2e-4, 5e-3, "log"),
        "width": [16, 32, 48, 64],
        "blocks": [1, 2],
        "ema": [0.99, 0.995, 0.999],
        "beta1": [0.0, 0.5, 0.9],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "width", self.width >= 4 and self.width % 4 == 0, "a multiple of 4, at least 4")
        for name in ("levels", "blocks", "evaluations"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("lr", "inversion_lr"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "clip", self.clip >= 0, "0 (none) or more")
        for name in ("beta1", "ema"):
            require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        require(self, "solver", self.solver in ode.STAGES, f"one of {', '.join(ode.STAGES)}")
        require(self, "reconstruct", self.reconstruct in RECONSTRUCT, f"one of {', '.join(RECONSTRUCT)}")

    def steadier(self) -> dict[str, float]:
        """Half the learning rate."""
        return {"lr": self.lr / 2}

    def sampler(self) -> SamplerSettings:
        return SamplerSettings(self.solver, self.evaluations, self.reconstruct, self.inversion_lr)


def conditional_path(noise: Tensor, images: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The points x_t = (1 - t) noise + t image and their velocities image - noise, each (n, C, H, W).

    `t` (n,) in [0, 1]: noise at 0, the image at 1.
    """
    t = t[:, None, None, None]
    return (1 - t) * noise + t * images, images - noise


def draw_times(n: int, generator: torch.Generator) -> Tensor:
    """`n` times, each uniform on [0, 1), one in each of n equal intervals, so that a batch's loss varies less.

    One shift for all: the low-discrepancy sampler of Kingma et al. 2021, arXiv 2107.00630. A batch's images must be in
    random order.
    """
    shift = torch.rand((), generator=generator, device=generator.device)
    return (torch.arange(n, device=generator.device) + shift) / n


def matching_loss(velocity: ode.Field, images: Tensor, generator: torch.Generator) -> Tensor:
    """The mean squared error of the velocity a dimension at random points of the paths to `images` (n, C, H, W).

    Its minimizer is E[image - noise | x_t], the velocity that carries the noise's distribution to that of the images
    (Lipman et al. 2023, theorems 1 and 2).
    """
    noise = draw_normal(*images.shape, generator=generator)
    t = draw_times(len(images), generator)
    x, target = conditional_path(noise, images, t)
    return (velocity(x, t) - target).square().mean()


class Flow(InvertingModel):
    """A latent is image-shaped standard normal noise; its image, where the flow takes it from time 0 to 1."""

    prior = NORMAL
    paths_run_on = False

    def __init__(self, velocity: nn.Module, image_shape: tuple[int, int, int], settings: SamplerSettings):
        super().__init__()
        self.velocity, self.image_shape, self.settings = velocity, image_shape, settings
        self.latent_shape = image_shape
        self.evaluations_per_sample = settings.evaluations
        self.reconstructs_by_inversion = settings.reconstruct == "inversion"

    def steps(self, start: float = 0.0, end: float = 1.0) -> list[ode.Step]:
        """The solver's steps of one sample, in either direction."""
        return ode.steps(self.settings.solver, self.settings.evaluations, start, end)

    def decode(self, latents: Tensor) -> Tensor:
        """The flow's end, clamped to [-1, 1]. Raises NotFiniteError, naming the step, where it is not finite."""
        return self._path(latents, self.steps())[-1].clamp(-1, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Latents (n, C, H, W) of `images`, by the flow backwards: as many evaluations as a sample.

        The inverse of `decode`, but for the solver's error and for what the clamp takes away.
        """
        return self._path(images, self.steps(1.0, 0.0))[-1]

    @torch.no_grad()
    def _path(self, x: Tensor, steps: Sequence[ode.Step]) -> list[Tensor]:
        path = list(ode.states(self.velocity, x, steps))
        finite = torch.stack([torch.isfinite(state).all() for state in path])
        if not finite.all():
            first = int((~finite).nonzero()[0]) + 1
            raise NotFiniteError(f"the flow is not finite from step {first} of {len(path)} on")
        return path

    def decode_and_pull_back(self, z: Tensor, of_end: OfEnd) -> tuple[Tensor, Tensor]:
        """The flow's end, not clamped, and v^T dM/dz for v = of_end(M(z)), each (n, C, H, W).

        The graphs of the first steps are held until they exceed `GRAPHS`. Of the others the states alone are kept, and
        each is computed again on the way back (gradient checkpointing, Chen et al. 2016, arXiv 1604.06174).
        """
        left, held = self.steps(), 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal held
            held += tensor.nbytes
            return tensor

        start = x = z.detach().requires_grad_()
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            while left and held < GRAPHS:
                x = left.pop(0)(self.velocity, x)
        with torch.no_grad():
            path = [x.detach(), *ode.states(self.velocity, x.detach(), left)]
        v = of_end(path[-1])
        for step, state in zip(reversed(left), reversed(path[:-1]), strict=True):
            _, v = pull_back(lambda x, step=step: step(self.velocity, x), state, lambda _, v=v: v)
        return path[-1], v if x is start else torch.autograd.grad(x, start, v)[0]

    def inversion_optimizer(self, latents: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(latents, lr=self.settings.inversion_lr)

    def reconstruct(
        self, images: Tensor, budget: int, generator: torch.Generator, observe: Observer | None = None
    ) -> Tensor:
        """By inversion, or there and back along the flow at the cost of two samples, as the settings have it."""
        if self.reconstructs_by_inversion:
            return super().reconstruct(images, budget, generator, observe)
        return self.decode(self.encode(images))

    def invert_latents(self, images: Tensor, budget: int, generator: torch.Generator) -> Tensor:
        return (
            super().invert_latents(images, budget, generator) if self.reconstructs_by_inversion else self.encode(images)
        )

    def trajectory(self, n: int, generator: torch.Generator, frames: int) -> Tensor:
        """The states nearest to `frames` evenly spaced times: (frames, n, C, H, W), the last one clamped."""
        latents = self.sample_latents(n, generator)
        path = [latents, *self._path(latents, self.steps())]
        path[-1] = path[-1].clamp(-1, 1)
        return torch.stack([path[round(i * (len(path) - 1) / (frames - 1))] for i in range(frames)])

    def at_compute(self, factor: float) -> Flow:
        """The same velocity with `factor` times the evaluations, rounded and at least 1."""
        evaluations = max(1, round(factor * self.settings.evaluations))
        return Flow(self.velocity, self.image_shape, replace(self.settings, evaluations=evaluations))


class FlowTrainer:
    """Regression of the velocity along straight paths from noise to the batch's images; averaged weights sample."""

    Config = FlowConfig

    def __init__(
        self,
        config: FlowConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,
        device: torch.device,
    ):
        self.config = config
        channels, side, _ = image_shape
        with seeded_init(generator):
            net = UNet(channels, side, width=config.width, levels=config.levels, blocks=config.blocks)
        self.net = laid_out(net, device)
        self.model = Flow(copy.deepcopy(net) if config.ema else net, image_shape, config.sampler())
        self.model.eval()
        self.networks = (self.net,)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.lr, betas=(config.beta1, 0.999))
        self.updates = 0

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (n, C, H, W) in [-1, 1]; the log has the gradient's norm before it is clipped."""
        loss = matching_loss(self.net, images, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip or math.inf)
        self.optimizer.step()
        self.updates += 1
        if self.config.ema:
            average(self.model.velocity, self.net, self.config.ema, self.updates)
        values = torch.stack([loss.detach(), norm.detach()]).tolist()  # one transfer from the device
        return dict(zip(("loss", "gradient norm"), values, strict=True))

    def state_dict(self) -> dict[str, Any]:
        averaged = {"averaged": self.model.state_dict()} if self.config.ema else {}
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            **averaged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        if self.config.ema:
            self.model.load_state_dict(state["averaged"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.updates = state["updates"]
