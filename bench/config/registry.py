"""The table of models. A new one is one file and one line here, or `package.module:factory` on the command line."""

from __future__ import annotations

import importlib
import re
from typing import Any

from bench.errors import UserError

MODELS = {
    "ebm": "ebm.training:ShortRunTrainer",
    "ebm-residual": "ebm.training:ResidualShortRunTrainer",
    "ebm-multigrid": "ebm.multigrid_training:MultigridTrainer",
    "vae": "baselines.vae:VAETrainer",
    "dcgan": "baselines.dcgan:DCGANTrainer",
    "flow": "baselines.flow:FlowTrainer",
}


def label(name: str) -> str:
    """What a model is called in paths, tables and settings: its registered name, or its factory's own name."""
    return name if name in MODELS else re.sub(r"[^A-Za-z0-9_.-]", "-", name.rpartition(":")[2])


def factory(name: str) -> Any:
    """The factory (`bench/contract/model.py`) of a registered name or `package.module:factory`; UserError otherwise."""
    target = MODELS.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute):
        raise UserError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}, or give package.module:factory")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise UserError(f"model {name!r} cannot be imported ({error}): check the path and PYTHONPATH") from None
    except AttributeError:
        raise UserError(f"model {name!r}: the module {module_name} has no {attribute!r}: check the name") from None
    if not callable(found) or not hasattr(found, "Config"):
        raise UserError(
            f"model {name!r} is not a factory: it must be callable and have a Config dataclass (docs/models.md)"
        )
    return found
