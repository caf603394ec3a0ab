"""The table of models. A new one is one file and one line here, or `package.module:factory` on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.contract import plugins
from bench.errors import UserError, one_line

MODELS = {
    "ebm": "ebm.training:ShortRunTrainer",
    "ebm-residual": "ebm.training:ResidualShortRunTrainer",
    "ebm-multigrid": "ebm.multigrid_training:MultigridTrainer",
    "vae": "baselines.vae:VAETrainer",
    "dcgan": "baselines.dcgan:DCGANTrainer",
    "flow": "baselines.flow:FlowTrainer",
    "published": "baselines.published:PublishedTrainer",
}


def label(name: str) -> str:
    """What a model is called in paths, tables and settings: its registered name, or its factory's own name."""
    return name if name in MODELS else re.sub(r"[^A-Za-z0-9_.-]", "-", name.rpartition(":")[2])


def factory(name: str) -> Any:
    """The factory (`bench/contract/model.py`) of a registered name or `package.module:factory`; UserError otherwise."""
    found = plugins.load(name, "model", MODELS, form="package.module:factory")
    if not callable(found) or not hasattr(found, "Config"):
        raise UserError(
            f"model {name!r} is not a factory: it must be callable and have a Config dataclass (docs/models.md)"
        )
    return found


def smoke(factory: Any) -> dict[str, object]:
    """The settings with which a factory's model trains in seconds (`ModelConfig.smoke`); none where it states none."""
    found = getattr(factory.Config, "smoke", {})
    if not isinstance(found, Mapping):
        raise UserError(f"{factory.Config.__qualname__}.smoke is {one_line(repr(found))}: make it a dict of settings")
    return dict(found)
