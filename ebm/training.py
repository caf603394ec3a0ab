"""Learning by short-run MCMC: the gradient of the likelihood with the chain's ends in the model's place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.contract.averaging import average
from bench.contract.config import ModelConfig, require
from bench.contract.optimizers import load_optimizer
from bench.contract.precision import check_precision
from bench.contract.seeds import seeded_init
from bench.contract.shares import WHOLE, cut
from ebm import settings
from ebm.diagnostics import chain_scalars
from ebm.energy import ENERGY_NETS
from ebm.langevin import ChainSettings
from ebm.learning import Contrast, annealed, as_floats, descend, is_finite, noisy, updates_apart
from ebm.short_run import ShortRunEBM, not_finite


@dataclass(frozen=True)
class ShortRunConfig(ModelConfig):
    """The paper's settings unless said otherwise; lengths of runs are the profile's."""

    net: str = "plain"  # plain (the paper's) or residual, of matched size
    n_f: int = 32  # channels of the first layer
    activation: str = "leaky_relu"  # a smooth one (silu, softplus, gelu) tames the energy's curvature
    steps: int = 100  # K
    step_size: float = 1.0
    noise_std: float = 0.01
    sigma: float = 0.03  # standard deviation of the noise added to the data
    sigma_final: float = 0.03
    lr: float = 1e-4
    lr_final: float = 1e-4
    anneal_from: float = 0.0  # fraction of the run after which lr and sigma fall linearly to their final values
    beta1: float = 0.9
    beta2: float = 0.999
    energy_penalty: float = 0.0  # times the mean squared energy, added to the loss
    ema: float = 0.0  # decay of the averaged weights that sample; 0 samples with the trained ones
    inversion_rate: float = 0.5
    lost_after: int = (
        200  # updates in a row with data and chain ends told apart without error that end the run; 0: none do
    )
    precision: str = "float32"  # of the chain's convolutions: float32, tf32 (NVIDIA GPUs) or bf16
    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "n_f": 4, "steps": 3}
    search: ClassVar[Mapping[str, Any]] = {
        "lr": (1e-4, 5e-3, "log"),
        "sigma+sigma_final": (0.02, 0.2, "log"),
        "n_f": [16, 32, 64],
        "steps": (10, 60, "log"),
        "beta1": [0.0, 0.5, 0.9],
        "energy_penalty": [0.0, 0.001, 0.01, 0.1],
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.check(self)
        require(self, "inversion_rate", self.inversion_rate > 0, "above 0")

    def steadier(self) -> settings.Steadier:
        return settings.steadier(self)


class ShortRunTrainer:
    """Nijkamp et al. 2019, arXiv 1904.09770, algorithm 1: non-convergent, non-persistent short-run MCMC."""

    Config = ShortRunConfig

    def __init__(
        self,
        config: ShortRunConfig,
        image_shape: tuple[int, int, int],
        *,
        generator: torch.Generator,  # on the CPU: the first weights are the same on every device
        device: torch.device,
    ):
        self.config = config
        check_precision(config.precision, device)
        channels, side, _ = image_shape
        with seeded_init(generator):
            energy = ENERGY_NETS[config.net](channels, side, config.n_f, config.activation)
        energy = energy.to(device=device, memory_format=torch.channels_last)

        chain = ChainSettings(config.steps, config.step_size, config.noise_std, config.precision)

        def model_of(net: torch.nn.Module) -> ShortRunEBM:
            return ShortRunEBM(net, image_shape, chain, inversion_rate=config.inversion_rate)

        self.learner = model_of(energy)
        self.model = model_of(copy.deepcopy(energy)) if config.ema else self.learner
        self.model.eval()
        self.networks = (energy,)
        self.share = WHOLE  # of the chains of an update
        self.optimizer = torch.optim.Adam(energy.parameters(), lr=config.lr, betas=(config.beta1, config.beta2))
        self.updates = 0
        self.apart = 0  # updates in a row in which every chain's end had a higher energy than every image

    def annealed(self, first: float, last: float) -> float:
        """The value at this update of a setting that falls linearly from `first` to `last` after `anneal_from`."""
        return annealed(first, last, self.updates, self.config.updates, self.config.anneal_from)

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (n, C, H, W) in [-1, 1].

        Raises NotFiniteError when its chain is not finite, before the weights are changed, and DivergedError when its
        ends have lost the data for good.
        """
        config, learner = self.config, self.learner
        sigma, lr = self.annealed(config.sigma, config.sigma_final), self.annealed(config.lr, config.lr_final)

        # negatives: K Langevin steps from uniform noise
        norms, rows = torch.empty(config.steps, device=images.device), self.share.rows(len(images))
        start = cut(learner.sample_latents(len(images), generator), rows)
        negatives = learner.chain(start, generator, norms=norms, checked=False, rows=rows)
        negatives, norms = self.share.gathered(negatives, norms, rows)

        # ascend mean f(data + sigma eps) - mean f(negatives)
        contrast = Contrast(learner.energy, noisy(images, sigma, generator), negatives)
        log = as_floats({**contrast.scalars(), **chain_scalars(norms, negatives)})  # the only wait for the device
        if not is_finite(log):
            raise not_finite(norms)
        descend(self.optimizer, contrast.loss(config.energy_penalty), lr)
        self.updates += 1
        if config.ema:
            average(self.model, learner, config.ema, self.updates)

        self.apart = updates_apart(self.apart, log["AUROC(data, chain)"], config.lost_after)
        return log | {"lr": lr, "sigma": sigma}

    def state_dict(self) -> dict[str, Any]:
        averaged = {"averaged": self.model.state_dict()} if self.config.ema else {}
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "apart": self.apart,
            **averaged,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        if self.config.ema:
            self.model.load_state_dict(state["averaged"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.updates, self.apart = state["updates"], state["apart"]


@dataclass(frozen=True)
class ResidualShortRunConfig(ShortRunConfig):
    net: str = "residual"


class ResidualShortRunTrainer(ShortRunTrainer):
    """The same algorithm with the residual energy net; its settings start from those of `ebm`."""

    Config = ResidualShortRunConfig
    inherits = "ebm"
