"""Nets, models and trainers for tests, their first weights functions of a seed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from baselines.unet import UNet
from bench.config import registry
from bench.config.settings import load_profile
from bench.contract.seeds import seeded, seeded_init
from bench.grid.request import Request
from bench.results.cell_folder import CellFolder
from bench.scoring.setup import Setup
from ebm.energy import ENERGY_NETS, EnergyNet
from ebm.langevin import ChainSettings
from ebm.short_run import ShortRunEBM


def energy_net(kind: str, channels: int, side: int, n_f: int = 4, activation: str = "leaky_relu", seed=0) -> EnergyNet:
    with seeded_init(seeded("net", seed)):
        return ENERGY_NETS[kind](channels, side, n_f, activation)


def smoke_request(out: Path, **overrides) -> Request:
    """One cell of the smoke profile, with other settings by section."""
    return Request(
        setup=Setup(),
        profile=load_profile("smoke"),
        overrides=overrides,
        datasets=("digits",),
        models=("vae",),
        seeds=(0,),
        evaluation_seeds=(0,),
        out=out,
        command="",
    )


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


def random_unet(shape=(1, 8, 8), seed=0) -> UNet:
    """In float64, no weight at zero: before its first update a U-Net's velocity is zero."""
    with seeded_init(seeded("unet", seed)):
        net = UNet(shape[0], shape[1], width=4, levels=2, blocks=1).double()
        for p in net.parameters():
            nn.init.normal_(p, std=0.3)
    return net


def stop_at(trainer, update: int | None, error: type[Exception] = InterruptedError):
    """The trainer, which raises `error` in place of its step after that many; None: never."""
    step, done = trainer.step, []

    def stopping(*given):
        if len(done) == update:
            raise error
        done.append(1)
        return step(*given)

    trainer.step = stopping
    return trainer
