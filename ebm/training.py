"""Learning by short-run MCMC: the gradient of the likelihood with the chain's ends in the model's place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.contract.config import ModelConfig, require
from bench.contract.priors import draw_uniform
from bench.contract.seeds import seeded_init
from bench.errors import DivergedError
from ebm.diagnostics import chain_scalars, moments_gap
from ebm.energy import ACTIVATIONS, ENERGY_NETS
from ebm.langevin import PRECISIONS, ChainSettings
from ebm.short_run import ShortRunEBM


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
    precision: str = "float32"  # of the chain's convolutions: float32, tf32 (NVIDIA GPUs) or bf16; learning is float32
    smoke: ClassVar[Mapping[str, Any]] = {"updates": 10, "batch_size": 16, "n_f": 4, "steps": 3}

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "net", self.net in ENERGY_NETS, f"one of {', '.join(ENERGY_NETS)}")
        require(self, "activation", self.activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}")
        require(self, "precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        for name in ("n_f", "steps"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("step_size", "lr", "inversion_rate"):
            require(self, name, getattr(self, name) > 0, "above 0")
        for name in ("noise_std", "sigma", "sigma_final", "lr_final", "energy_penalty", "lost_after"):
            require(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("anneal_from", "beta1", "beta2", "ema"):
            require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")

    def steadier(self) -> dict[str, float]:
        """Half the learning rate and half as much again of the data's noise, which the chain's stability hangs on."""
        rates = {name: getattr(self, name) / 2 for name in ("lr", "lr_final")}
        noises = {name: getattr(self, name) * 1.5 for name in ("sigma", "sigma_final")}
        return rates | noises


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
        channels, side, _ = image_shape
        with seeded_init(generator):
            energy = ENERGY_NETS[config.net](channels, side, config.n_f, config.activation)
        energy = energy.to(device=device, memory_format=torch.channels_last)

        settings = ChainSettings(config.steps, config.step_size, config.noise_std, config.precision)

        def model_of(net: torch.nn.Module) -> ShortRunEBM:
            return ShortRunEBM(net, image_shape, settings, inversion_rate=config.inversion_rate)

        self.learner = model_of(energy)
        self.model = model_of(copy.deepcopy(energy)) if config.ema else self.learner
        self.model.eval()
        self.networks = (energy,)
        self.optimizer = torch.optim.Adam(energy.parameters(), lr=config.lr, betas=(config.beta1, config.beta2))
        self.updates = 0
        self.apart = 0  # updates in a row in which every chain's end had a higher energy than every image

    def annealed(self, first: float, last: float) -> float:
        """The value at this update of a setting that falls linearly from `first` to `last` after `anneal_from`."""
        begin = self.config.anneal_from * self.config.updates
        done = (self.updates - begin) / max(1.0, self.config.updates - begin)
        return first + (last - first) * min(1.0, max(0.0, done))

    def step(self, images: Tensor, generator: torch.Generator) -> dict[str, float]:
        """One update on `images` (n, C, H, W) in [-1, 1].

        Raises NotFiniteError when its chain is not finite, DivergedError when its ends have lost the data for good.
        """
        config, energy, n = self.config, self.learner.energy, len(images)
        sigma, lr = self.annealed(config.sigma, config.sigma_final), self.annealed(config.lr, config.lr_final)

        norms = torch.empty(config.steps, device=images.device)
        start = draw_uniform(n, *self.learner.image_shape, generator=generator)
        end = self.learner.chain(start, generator, norms=norms)
        eps = torch.randn(images.shape, generator=generator, device=images.device)
        data = images + sigma * eps

        # one forward pass for both; gradient ascent on mean f(data) - mean f(end), f = -E
        features = energy.features(torch.cat([data, end]).contiguous(memory_format=torch.channels_last))
        energies = energy.of_features(features)
        data_energy, chain_energy = energies[:n].mean(), energies[n:].mean()
        square = energies.square().mean()
        loss = data_energy - chain_energy + config.energy_penalty * square
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.updates += 1
        if config.ema:
            self._average()

        told_apart = (energies[:n, None] < energies[None, n:]).float().mean()  # AUROC
        scalars = {
            "energy gap": (chain_energy - data_energy).detach(),  # mean f(data) - mean f(chain)
            "energy rms": square.detach().sqrt(),
            "told apart": told_apart.detach(),
            "moments gap": moments_gap(features[:n], features[n:]),  # of the last layer; learning drives it to 0
            **chain_scalars(norms, end),
        }
        values = torch.stack([v.float() for v in scalars.values()]).tolist()  # one transfer from the device
        named = dict(zip(scalars, values, strict=True)) | {"lr": lr, "sigma": sigma}
        self._refuse_lost(named["told apart"])
        return named

    def _refuse_lost(self, told_apart: float) -> None:
        """A chain whose steps overshoot does not come back: from then on the energy tells its ends from the data."""
        self.apart = self.apart + 1 if told_apart == 1.0 else 0
        if self.config.lost_after and self.apart >= self.config.lost_after:
            raise DivergedError(f"the chains have lost the data: told apart without error for {self.apart} updates")

    @torch.no_grad()
    def _average(self) -> None:
        # a young average would remember the first weights too long: the decay grows to its value
        decay = min(self.config.ema, self.updates / (self.updates + 10))
        for mean, now in zip(self.model.parameters(), self.learner.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

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
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates, self.apart = state["updates"], state["apart"]


@dataclass(frozen=True)
class ResidualShortRunConfig(ShortRunConfig):
    net: str = "residual"


class ResidualShortRunTrainer(ShortRunTrainer):
    """The same algorithm with the residual energy net; its settings start from those of `ebm`."""

    Config = ResidualShortRunConfig
    inherits = "ebm"
