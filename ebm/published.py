"""Weights of the paper's authors' minimal script, brought into `ebm`.

The script's net is an `nn.Sequential` of the paper's f = -E (Nijkamp et al. 2019, arXiv 1904.09770, appendix), with
LeakyReLUs between its convolutions: keys `0.weight`, `2.weight`, ..., behind `f.` or `module.` where a module held it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.contract.seeds import seeded
from bench.errors import UserError
from ebm.short_run import ShortRunEBM
from ebm.training import ShortRunConfig, ShortRunTrainer

_KEY = re.compile(r"(?:(?:f|module)\.)*(\d+)\.(weight|bias)")
SCRIPT = {"steps": 100, "step_size": 1.0, "noise_std": 0.01}  # of its chain


def from_published(state: Mapping[str, Tensor], image_shape: tuple[int, int, int], **settings: Any) -> ShortRunEBM:
    """The model `ebm` with the weights of a state dict of the script, for images (C, side, side); E = -f.

    `settings` are of `ShortRunConfig`, for a chain other than the script's. Read the file by
    `torch.load(path, weights_only=True)`, which runs nothing in it.
    Raises UserError for another net's state dict, or one for images of another shape.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        parts = _KEY.fullmatch(key)
        if parts is None:
            raise UserError(f"the state dict has {key!r}, which no nn.Sequential has: give the published net's")
        layers.setdefault(int(parts[1]), {})[parts[2]] = value
    order = sorted(layers)
    if not order or order != list(range(0, 2 * len(order), 2)):
        raise UserError(f"the state dict has layers {order}: the published net's are convolutions 0, 2, 4, ...")
    n_f = len(layers[0].get("weight", ()))
    config = ShortRunConfig(**{"updates": 1, "batch_size": 2, **SCRIPT, "n_f": n_f, **settings})
    factory = ShortRunTrainer(config, image_shape, generator=seeded("published"), device=torch.device("cpu"))
    names = {index: f"features.{index}" for index in order[:-1]} | {order[-1]: "head"}
    renamed = {f"{names[index]}.{kind}": value for index, own in layers.items() for kind, value in own.items()}
    try:
        factory.model.energy.load_state_dict(renamed)
    except RuntimeError:
        raise UserError(
            f"the state dict is not that of the published net for images {image_shape} with {n_f} channels in its "
            "first layer: give the shape of the images that it was trained on"
        ) from None
    return factory.model
