"""Nets, models and trainers for tests, their first weights functions of a seed."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.config import registry
from bench.contract.seeds import seeded, seeded_init
from bench.results.cell_folder import CellFolder
from ebm.energy import ENERGY_NETS, EnergyNet
from ebm.langevin import ChainSettings
from ebm.short_run import ShortRunEBM


def energy_net(kind: str, channels: int, side: int, n_f: int = 4, activation: str = "leaky_relu", seed=0) -> EnergyNet:
    with seeded_init(seeded("net", seed)):
        return ENERGY_NETS[kind](channels, side, n_f, activation)


def short_run(energy: EnergyNet, image_shape, steps=4, noise_std=0.01, step_size=1.0) -> ShortRunEBM:
    return ShortRunEBM(energy, image_shape, ChainSettings(steps, step_size, noise_std), inversion_rate=0.5)


def trainer(name: str, image_shape=(1, 8, 8), seed=0, device="cpu", **settings):
    factory = registry.factory(name)
    config = factory.Config(**(registry.smoke(factory) | {"updates": 4, "batch_size": 8} | settings))
    return factory(config, image_shape, generator=seeded(seed, "weights"), device=torch.device(device))


def cell_folder(out: Path) -> CellFolder:
    """The folder of one cell of a results folder."""
    return CellFolder(out, "digits", "ebm", 0)


def images(n: int, image_shape=(1, 8, 8), seed=0) -> torch.Tensor:
    """Uniform noise in [-1, 1]."""
    return torch.rand(n, *image_shape, generator=seeded("images", seed)) * 2 - 1
