"""Profiles, overrides, and typed configurations from them. Unknown names and bad values are errors, never ignored."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from bench.errors import UserError

PROFILES = Path(__file__).parent / "profiles"
HEADER = {"description": str, "datasets": list, "models": list, "seeds": list, "features": str}
EVALUATION_SEEDS = "evaluation_seeds"  # as `seeds`, but may be left out
PER_DATASET = "on"  # [on.celeba.ebm] holds what differs for a data set
Sections = dict[str, dict[str, Any]]  # section (data, training, evaluation, or a model) -> setting -> value
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Profile:
    """A named set of settings: what to run by default, and the settings of every section."""

    name: str
    description: str
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    features: str
    sections: Sections
    per_dataset: dict[str, Sections]
    evaluation_seeds: tuple[int, ...] = (0,)

    def settings(self, dataset: str, section: str) -> dict[str, Any]:
        """The settings of one section for one data set."""
        return self.sections.get(section, {}) | self.per_dataset.get(dataset, {}).get(section, {})


def profile_names() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or a TOML file by path; UserError when it is neither or not well formed."""
    path = PROFILES / f"{name}.toml" if name in profile_names() else Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise UserError(f"unknown profile {name!r}: choose one of {', '.join(profile_names())}, or give a .toml file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"profile {path} cannot be read: {error}") from None
    header = {}
    for key, kind in HEADER.items():
        if not isinstance(table.get(key), kind):
            raise UserError(f"profile {path}: {key!r} is missing or not a {kind.__name__}")
        value = table.pop(key)
        header[key] = tuple(value) if kind is list else value
    evaluation_seeds = table.pop(EVALUATION_SEEDS, [0])
    if not isinstance(evaluation_seeds, list) or not evaluation_seeds:
        raise UserError(f"profile {path}: {EVALUATION_SEEDS!r} is not a list of one or more seeds")
    per_dataset = table.pop(PER_DATASET, {})
    for place, sections in [("", table), *((f"{PER_DATASET}.{name}.", part) for name, part in per_dataset.items())]:
        for section, settings in sections.items():
            if not isinstance(settings, dict):
                raise UserError(f"profile {path}: {place}{section} is not a section of settings")
    return Profile(
        name=path.stem,
        sections=table,
        per_dataset=per_dataset,
        evaluation_seeds=tuple(evaluation_seeds),
        **header,
    )


def parse_overrides(texts: Iterable[str], sections: Iterable[str]) -> Sections:
    """`section.name=value` texts to settings by section; a value is read as TOML, else taken as a word."""
    known = list(sections)
    parsed: Sections = {}
    for text in texts:
        key, equals, value = text.partition("=")
        section, dot, name = key.strip().rpartition(".")
        if not (equals and dot and section and name):
            raise UserError(f"--set {text!r} is not of the form section.name=value, for instance ebm.steps=50")
        if section not in known:
            raise UserError(f"--set {text!r}: unknown section {section!r}: choose one of {', '.join(known)}")
        try:
            parsed.setdefault(section, {})[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed.setdefault(section, {})[name] = value.strip()
    return parsed


def build(config: type[T], values: Mapping[str, Any], section: str) -> T:
    """The configuration dataclass from `values`, checked by name, type and range; UserError names what is good."""
    types = get_type_hints(config)
    fields = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    checked = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"unknown setting {section}.{name}: choose one of {', '.join(fields)}")
        checked[name] = _checked(value, types[name], f"{section}.{name}")
    try:
        return config(**checked)
    except ValueError as error:
        raise UserError(f"setting {section}.{error}") from None


def _checked(value: Any, kind: Any, name: str) -> Any:
    if get_origin(kind) is tuple:  # tuple[float, ...]
        inner = get_args(kind)[0]
        if not isinstance(value, list | tuple):
            example = "['noise']" if inner is str else "[1, 2]"
            raise UserError(f"setting {name}={value!r} is not a list: give one, for instance {name}={example}")
        return tuple(_checked(one, inner, name) for one in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise UserError(f"setting {name}={value!r} has the wrong type: give a value of type {kind.__name__}")
    if kind is float and not abs(value) < float("inf"):
        raise UserError(f"setting {name}={value!r} is not finite: give a finite number")
    return value
