"""Models whose speed and whose score are known, under a clock that their updates turn, for tuning and races."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from bench.contract.config import ModelConfig
from bench.contract.scores import Score
from bench.errors import DivergedError
from tests.evaluation_builders import Scaled


class Clock:
    """Seconds that pass where a trainer says so; the first update of a model takes ten times as long."""

    now = 0.0

    def __call__(self) -> float:
        return Clock.now


@dataclass(frozen=True)
class Config(ModelConfig):
    batch_size: int = 2
    cost: float = 1.0  # seconds an update
    lr: float = 0.1
    lr_final: float = 0.1
    width: int = 4
    levels: tuple[float, ...] = (1.0,)
    kind: str = "plain"
    fails_at: int = 0  # the update that diverges
    smoke: ClassVar[Mapping[str, Any]] = {}
    search: ClassVar[Mapping[str, Any]] = {
        "lr+lr_final": (1e-3, 1.0, "log"),
        "width": (2, 9, "linear"),
        "levels": (0.5, 2.0, "log"),
        "kind": ["plain", "residual"],
    }


class Trainer:
    """Counts its updates in a weight; `planned` remembers with how many updates trainers were made."""

    Config = Config
    planned: ClassVar[list[int]] = []

    def __init__(self, config, image_shape, *, generator, device):
        self.config, self.model = config, Scaled(0.0)
        self.networks = (self.model,)
        Trainer.planned.append(config.updates)

    def step(self, images, generator):
        done = int(self.model.scale) + 1
        Clock.now += self.config.cost * (10 if done == 1 else 1)
        if done == self.config.fails_at:
            raise DivergedError("the toy diverged")
        with torch.no_grad():
            self.model.scale += 1
        return {"updates": float(done)}

    def state_dict(self):
        return {"model": self.model.state_dict()}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])


@dataclass(frozen=True)
class SlowConfig(Config):
    cost: float = 2.0


class Slow(Trainer):
    """Half as fast."""

    Config = SlowConfig


@dataclass(frozen=True)
class FailingConfig(Config):
    fails_at: int = 12


class Failing(Trainer):
    """Diverges after its timing."""

    Config = FailingConfig


@dataclass
class Yardstick:
    """A score that falls as a power of the number of updates: 8 / updates. It takes time that no one must count."""

    taken: list[tuple[float, int]] = field(default_factory=list)  # the moment, the updates

    def score(self, model, seed) -> Score:
        updates = int(model.scale)
        self.taken.append((Clock.now, updates))
        Clock.now += 1000.0
        return Score("KID", "KID(toy)", "samples", 8.0 / updates, "lower")

    def of_real(self, images) -> Score:
        return Score("KID", "KID(toy)", "samples", 0.001, "lower")
