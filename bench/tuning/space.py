"""What is searched: the ranges that a model's configuration declares, as `ModelConfig.search` says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

from bench.errors import UserError, one_line

SCALES = ("log", "linear")
DIGITS = 3  # significant ones of a number that is tried: what is printed is what was run


@dataclass(frozen=True)
class Dimension:
    """One declared entry: a range or choices, for one setting or for several that share the value."""

    key: str  # as declared: "lr", or "sigma+sigma_final"
    listed: bool  # the settings are lists: one value for all levels
    whole: bool = False  # whole numbers
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()  # in place of a range

    def of(self, config: Any) -> Any:
        """The value that a configuration has; None where its settings or levels differ, or where it is not searched."""
        values = {getattr(config, name) for name in self.key.split("+")}
        value = values.pop() if len(values) == 1 else None
        if self.listed and value is not None:
            value = value[0] if len(set(value)) == 1 else None
        inside = value in self.choices if self.choices else value is not None and self.low <= value <= self.high
        return value if inside else None

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The settings that an Optuna trial gives a value, by name."""
        if self.choices:
            value = trial.suggest_categorical(self.key, list(self.choices))
        elif self.whole:
            value = trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        else:
            drawn = trial.suggest_float(self.key, self.low, self.high, log=self.log)
            value = min(self.high, max(self.low, rounded(drawn)))
        return dict.fromkeys(self.key.split("+"), (value,) if self.listed else value)


def rounded(value: float) -> float:
    """`value` with `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def space(config: type, label: str, *, fixed: Collection[str] = ()) -> tuple[Dimension, ...]:
    """The dimensions that a configuration declares, but for settings that are `fixed`.

    UserError where it declares none or wrong ones, and where none is left.
    """
    declared = getattr(config, "search", {})
    where = f"{config.__qualname__}.search"
    if not isinstance(declared, Mapping):
        raise UserError(f"{where} is {one_line(repr(declared))}: make it a dict of ranges and choices")
    if not declared:
        raise UserError(f"{label} declares nothing to search: state ranges in {where} (docs/tuning.md)")
    every = [_dimension(config, key, value, f"{where}[{key!r}]") for key, value in declared.items()]
    free = [replace(one, key="+".join(name for name in one.key.split("+") if name not in fixed)) for one in every]
    if not any(one.key for one in free):
        raise UserError(f"--set fixes all that is searched of {label}: leave out one of {', '.join(declared)}")
    return tuple(one for one in free if one.key)


def _dimension(config: type, key: str, value: Any, where: str) -> Dimension:
    types = get_type_hints(config)
    fields = [field.name for field in dataclasses.fields(config)]
    names = key.split("+")
    if unknown := [name for name in names if name not in fields]:
        raise UserError(f"{where}: unknown setting {unknown[0]!r}: choose one of {', '.join(fields)}")
    kinds = {types[name] for name in names}
    if len(kinds) > 1:
        raise UserError(f"{where}: {key} are of different types: declare them apart")
    kind = kinds.pop()
    listed = get_origin(kind) is tuple
    kind = get_args(kind)[0] if listed else kind
    if isinstance(value, list) and value:
        return Dimension(key, listed, choices=tuple(value))
    if _is_range(value, kind):
        low, high, scale = value
        return Dimension(key, listed, kind is int, float(low), float(high), scale == "log")
    form = "make it (low, high, 'log' or 'linear') with low < high, or a list of choices"
    raise UserError(f"{where} is {one_line(repr(value))}: {form}")


def _is_range(value: Any, kind: type) -> bool:
    if not (isinstance(value, tuple) and len(value) == 3 and value[2] in SCALES and kind in (int, float)):
        return False
    low, high, scale = value
    good = all(type(end) in (int, kind) and math.isfinite(end) for end in (low, high))
    return good and low < high and (scale == "linear" or low > 0)
