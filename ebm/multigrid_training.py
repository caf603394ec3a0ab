"""Learning a cascade: algorithm 1 at every level, on images reduced to its side; the cascade makes the negatives.

Nothing flows from a fine level into a coarse one: a level's negatives depend on its own weights and on those below it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.contract.averaging import average
from bench.contract.config import ModelConfig, require
from bench.contract.optimizers import load_optimizer
from bench.contract.precision import check_precision
from bench.contract.seeds import seeded_init
from bench.contract.shares import WHOLE, cut
from ebm import settings
from ebm.diagnostics import chain_scalars
from ebm.energy import COARSE_SIDES, ENERGY_NETS, SIDES, padded_side
from ebm.langevin import ChainSettings
from ebm.learning import Contrast, annealed, as_floats, descend, is_finite, noisy, updates_apart
from ebm.multigrid import MultigridEBM, reduced
from ebm.short_run import ShortRunEBM

BY_LEVEL = ("n_f", "steps", "step_size", "noise_std", "sigma", "sigma_final", "lr", "lr_final")
LEVEL_SIDES = tuple(sorted(COARSE_SIDES + SIDES))


@dataclass(frozen=True)
class Level:
    """The settings of one level; those that are annealed as (first, last)."""

    side: int
    n_f: int
    chain: ChainSettings
    sigma: tuple[float, float]
    lr: tuple[float, float]


@dataclass(frozen=True)
class MultigridConfig(ModelConfig):
    """A list that is not `levels` has one value for all levels, or one for each of them, coarse to fine."""

    levels: tuple[int, ...] = ()  # image sides, coarse to fine, each a divisor of the next; none: `default_levels`
    net: str = "plain"  # plain or residual
    activation: str = "leaky_relu"
    n_f: tuple[int, ...] = (32,)  # channels of the first layer
    steps: tuple[int, ...] = (20,)  # K
    step_size: tuple[float, ...] = (1.0,)
    noise_std: tuple[float, ...] = (0.01,)
    sigma: tuple[float, ...] = (0.03,)  # standard deviation of the noise added to the reduced data
    sigma_final: tuple[float, ...] = (0.03,)
    lr: tuple[float, ...] = (1e-3,)
    lr_final: tuple[float, ...] = (3e-5,)
    anneal_from: float = 0.0  # fraction of the run after which lr and sigma fall linearly to their final values
    beta1: float = 0.0
    beta2: float = 0.999
    energy_penalty: float = 0.01  # times the mean squared energy, added to every level's loss
    ema: float = 0.0  # decay of the averaged weights that sample; 0 samples with the trained ones
    inversion_lr: float = 0.1  # Adam's rate for latent inversion
    lost_after: int = 200  # as for `ebm`, at any one level
    precision: str = "float32"  # of the chains' convolutions: float32, tf32 (NVIDIA GPUs) or bf16

    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "n_f": (4,), "steps": (3,)}
    search: ClassVar[Mapping[str, Any]] = {
        "lr": (1e-4, 5e-3, "log"),
        "sigma+sigma_final": (0.02, 0.2, "log"),
        "n_f": [16, 32, 64],
        "steps": (5, 30, "log"),
        "beta1": [0.0, 0.5, 0.9],
        "energy_penalty": [0.0, 0.001, 0.01, 0.1],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.check(self)
        require(self, "inversion_lr", self.inversion_lr > 0, "above 0")
        known = f"made of {', '.join(map(str, LEVEL_SIDES))}, each a divisor of the next, coarse to fine"
        pairs = zip(self.levels, self.levels[1:], strict=False)
        good = all(side in LEVEL_SIDES for side in self.levels) and all(a < b and b % a == 0 for a, b in pairs)
        require(self, "levels", good, known)
        self._require_lengths(len(self.levels) or max(len(getattr(self, name)) for name in BY_LEVEL))

    def _require_lengths(self, n: int) -> None:
        for name in BY_LEVEL:
            good = f"one value for all levels, or one for each of {n}" if n > 1 else "one value for the one level"
            require(self, name, len(getattr(self, name)) in (1, n), good)

    def steadier(self) -> settings.Steadier:
        return settings.steadier(self)

    def plan(self, side: int) -> tuple[Level, ...]:
        """The settings of every level for images of `side`, coarse to fine; ValueError where they do not fit it."""
        padded_side(side)  # refuses sides that images cannot have
        sides = self.levels or default_levels(side)
        require(self, "levels", sides[-1] == side, f"a list that ends with the images' side, {side}")
        self._require_lengths(len(sides))

        def at(name: str, index: int) -> Any:
            values = getattr(self, name)
            return values[index if len(values) > 1 else 0]

        return tuple(
            Level(
                side=level,
                n_f=at("n_f", i),
                chain=ChainSettings(at("steps", i), at("step_size", i), at("noise_std", i), self.precision),
                sigma=(at("sigma", i), at("sigma_final", i)),
                lr=(at("lr", i), at("lr_final", i)),
            )
            for i, level in enumerate(sides)
        )


def default_levels(side: int) -> tuple[int, ...]:
    """`side` halved down to 8 (28: to 7; 8: to 4), coarse to fine."""
    sides = [side]
    while sides[0] % 2 == 0 and sides[0] // 2 >= (4 if side == 8 else 7):
        sides.insert(0, sides[0] // 2)
    return tuple(sides)


class MultigridTrainer:
    """Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1, at every level of a cascade."""

    Config = MultigridConfig

    def __init__(
        self,
        config: MultigridConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,  # on the CPU: the first weights are the same on every device
        device: torch.device,
    ):
        self.config = config
        check_precision(config.precision, device)
        channels, side, _ = image_shape
        self.levels = config.plan(side)
        with seeded_init(generator):
            nets = [ENERGY_NETS[config.net](channels, one.side, one.n_f, config.activation) for one in self.levels]
        nets = [net.to(device=device, memory_format=torch.channels_last) for net in nets]

        def model_of(nets: list[nn.Module]) -> MultigridEBM:
            chains = [
                ShortRunEBM(net, (channels, one.side, one.side), one.chain)
                for net, one in zip(nets, self.levels, strict=True)
            ]
            return MultigridEBM(chains, inversion_lr=config.inversion_lr)

        self.learner = model_of(nets)
        self.model = model_of(copy.deepcopy(nets)) if config.ema else self.learner
        self.model.eval()
        self.networks = tuple(nets)
        self.share = WHOLE  # of the chains of an update
        betas = (config.beta1, config.beta2)
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=one.lr[0], betas=betas)
            for net, one in zip(nets, self.levels, strict=True)
        ]
        self.updates = 0
        self.apart = [0] * len(self.levels)  # updates in a row; see `updates_apart`

    def annealed(self, setting: tuple[float, float]) -> float:
        """The value at this update of a setting that falls linearly after `anneal_from`."""
        return annealed(*setting, self.updates, self.config.updates, self.config.anneal_from)

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update of every level on `images` (n, C, H, W) in [-1, 1].

        Raises NotFiniteError when a chain is not finite, before any weight is changed, and DivergedError when a level
        has lost the data for good.
        """
        config, learner = self.config, self.learner
        sigmas = [self.annealed(level.sigma) for level in self.levels]
        rates = [self.annealed(level.lr) for level in self.levels]

        # negatives of all levels: the ends of one cascade from uniform noise
        norms = [torch.empty(one.chain.steps, device=images.device) for one in self.levels]
        rows = self.share.rows(len(images))
        start = cut(learner.sample_latents(len(images), generator), rows)
        ends = learner.cascade(start, generator, norms=norms, checked=False, rows=rows)
        gathered = [self.share.gathered(end, norm, rows) for end, norm in zip(ends, norms, strict=True)]
        negatives, norms = zip(*gathered, strict=True)

        # at every level, ascend mean f(data + sigma eps) - mean f(negatives)
        contrasts = [
            Contrast(net, noisy(reduced(images, level.side), sigma, generator), end)
            for net, level, sigma, end in zip(self.networks, self.levels, sigmas, negatives, strict=True)
        ]
        scalars = [
            {**contrast.scalars(), **chain_scalars(norm, end)}
            for contrast, norm, end in zip(contrasts, norms, negatives, strict=True)
        ]
        log = as_floats(self._by_level(scalars))  # the only wait for the device
        if not all(is_finite(log, f" {level.side}") for level in self.levels):
            raise learner.not_finite(negatives, norms)
        for optimizer, contrast, lr in zip(self.optimizers, contrasts, rates, strict=True):
            descend(optimizer, contrast.loss(config.energy_penalty), lr)
        self.updates += 1
        if config.ema:
            average(self.model, learner, config.ema, self.updates)

        self.apart = [
            updates_apart(
                apart, log[f"AUROC(data, chain) {one.side}"], config.lost_after, f"the chains of level {one.side}"
            )
            for apart, one in zip(self.apart, self.levels, strict=True)
        ]
        return log | self._by_level([{"lr": lr, "sigma": s} for lr, s in zip(rates, sigmas, strict=True)])

    def _by_level(self, scalars: list[dict[str, Any]]) -> dict[str, Any]:
        """Scalars of every level in one dictionary, a level's side behind each name: `energy gap 8`."""
        sides = [level.side for level in self.levels]
        return {f"{name} {side}": own[name] for name in scalars[0] for side, own in zip(sides, scalars, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        averaged = {"averaged": self.model.state_dict()} if self.config.ema else {}
        return {
            "learner": self.learner.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "updates": self.updates,
            "apart": self.apart,
            **averaged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        if self.config.ema:
            self.model.load_state_dict(state["averaged"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            load_optimizer(optimizer, own)
        self.updates, self.apart = state["updates"], list(state["apart"])
