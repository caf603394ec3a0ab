"""A model from what a file says of it: the name of its factory, its settings, the shape of its images, its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.config import registry
from bench.config.settings import build
from bench.contract.model import GenerativeModel
from bench.contract.seeds import seeded
from bench.errors import UserError, one_line


def maker(
    name: str, settings: Mapping[str, Any], image_shape: tuple[int, int, int], seed: int, device: torch.device
) -> Callable[[], GenerativeModel]:
    """What makes the model with its first weights; UserError for a factory or for settings that are not there."""
    factory = registry.factory(name)
    config = build(factory.Config, settings, registry.label(name))

    def made() -> GenerativeModel:
        return factory(config, image_shape, generator=seeded(seed, "weights"), device=device).model

    return made


def untrained(
    name: str, settings: Mapping[str, Any], image_shape: tuple[int, int, int], seed: int, device: torch.device
) -> GenerativeModel:
    """What `maker` makes; all but the device can be sent to another process, as a `functools.partial`."""
    return maker(name, settings, image_shape, seed, device)()


def with_weights(make: Callable[[], GenerativeModel], state: Mapping[str, Tensor], file: str) -> GenerativeModel:
    """The model with the weights in `state`, all of them; UserError, naming the file, where they do not fit."""
    try:
        model = make()
        model.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{file} does not fit its model in this version ({one_line(error)})") from None
    return model
