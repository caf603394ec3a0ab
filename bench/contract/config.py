"""What every model's configuration holds, and how a setting out of range is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class ModelConfig:
    """What every model's configuration holds; a model derives its own from it."""

    updates: int = 1000  # training updates
    batch_size: int = 64  # images per update
    smoke: ClassVar[Mapping[str, Any]] = {}  # settings that train in seconds, for tests; its scores mean nothing
    # what tuning tries: setting -> (low, high, "log" or "linear"), or a list of choices; "a+b" gives both one value, a
    # setting that is a list gets one value for all levels
    search: ClassVar[Mapping[str, tuple[float, float, str] | list[Any]]] = {}

    def __post_init__(self) -> None:
        require(self, "updates", self.updates >= 1, "at least 1")
        require(self, "batch_size", self.batch_size >= 2, "at least 2")

    def steadier(self) -> Mapping[str, float | tuple[float, ...]]:
        """Settings that diverge less easily than these, by name: advice to the user of a run that did."""
        return {}


def require(config: object, field: str, holds: bool, range_: str) -> None:
    """Raise ValueError, naming the field and its range, unless `holds`."""
    if not holds:
        raise ValueError(f"{field}={getattr(config, field)!r} is out of range: it must be {range_}")
