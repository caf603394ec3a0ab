"""Settings that single chains and cascades have in common: their ranges, and steadier ones.

A setting is one number, or a tuple with a number for each level of a cascade.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.contract.config import ModelConfig, require
from bench.contract.precision import PRECISIONS
from ebm.energy import ACTIVATIONS, ENERGY_NETS

CHOICES = {"net": ENERGY_NETS, "activation": ACTIVATIONS, "precision": PRECISIONS}
RANGES: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("n_f", "steps"), lambda v: v >= 1, "at least 1"),
    (("step_size", "lr"), lambda v: v > 0, "above 0"),
    (
        ("noise_std", "sigma", "sigma_final", "lr_final", "energy_penalty", "lost_after"),
        lambda v: v >= 0,
        "0 or more",
    ),
    (("anneal_from", "beta1", "beta2", "ema"), lambda v: 0 <= v < 1, "in [0, 1)"),
)
RATES, NOISES = ("lr", "lr_final"), ("sigma", "sigma_final")

Steadier = dict[str, float | tuple[float, ...]]


def check(config: ModelConfig) -> None:
    """Raise ValueError for the first setting out of its range."""
    for name, choices in CHOICES.items():
        require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")
    for names, holds, range_ in RANGES:
        for name in names:
            value = getattr(config, name)
            require(config, name, all(map(holds, value if isinstance(value, tuple) else (value,))), range_)


def steadier(config: ModelConfig) -> Steadier:
    """Half the learning rate and half as much again of the data's noise, which the chain's stability hangs on."""
    rates = {name: _times(0.5, getattr(config, name)) for name in RATES}
    noises = {name: _times(1.5, getattr(config, name)) for name in NOISES}
    return rates | noises


def _times(factor: float, value: Any) -> float | tuple[float, ...]:
    return tuple(factor * one for one in value) if isinstance(value, tuple) else factor * value
