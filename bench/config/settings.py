"""Profiles, overrides, and typed configurations from them. Unknown names and bad values are errors, never ignored."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from bench.config import toml
from bench.errors import UserError, one_line

PROFILES = Path(__file__).parent / "profiles"
HEADER = {"description": str, "datasets": list[str], "models": list[str], "seeds": list[int], "features": str}
EVALUATION_SEEDS = "evaluation_seeds"  # as `seeds`, but may be left out
SMALL_MODELS = "small_models"  # true or false; may be left out
LONGEST = 80  # letters of a value in a message
LARGEST_NUMBER = 2**63 - 1  # of whole numbers, either sign: what every library takes
PER_DATASET = "on"  # [on.celeba.ebm] holds what differs for a data set
EXTENDS = "extends"  # a shipped profile, or a .toml file beside this one, from which comes what it does not say
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
    small_models: bool = False  # whether models start from their own smoke settings, which its sections override

    def settings(self, dataset: str, section: str) -> dict[str, Any]:
        """The settings of one section for one data set."""
        return self.sections.get(section, {}) | self.per_dataset.get(dataset, {}).get(section, {})


def profile_names() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or a TOML file by path; UserError when it is neither or not well formed."""
    path = _path(name, Path())
    if path is None:
        raise UserError(f"unknown profile {name!r}: choose one of {', '.join(profile_names())}, or give a .toml file")
    return parse_profile(toml.content(path, f"profile {path}"), path)


def standalone(path: Path) -> bytes:
    """The content of a profile's file; where it extends another, one that says the same without it."""
    name, content = f"profile {path}", toml.content(path, f"profile {path}")
    return toml.text(_whole(content, path, ())).encode() if EXTENDS in toml.parse(content, name) else content


def _path(name: str, folder: Path) -> Path | None:
    """The file of a shipped profile, or of a .toml file in `folder`; None where it is neither."""
    path = PROFILES / f"{name}.toml" if name in profile_names() else folder / name
    try:
        return path if path.suffix == ".toml" and path.is_file() else None
    except (OSError, ValueError):  # a name that is too long for a file, or holds a zero byte
        return None


def parse_profile(content: bytes, path: Path) -> Profile:
    """The profile in the content of a TOML file; `path` names it. UserError when it is not well formed."""
    table = _whole(content, path, ())
    header = {}
    for key, kind in HEADER.items():
        value = table.pop(key, None)
        if not _is(value, kind):
            raise UserError(f"profile {path}: {key!r} is missing or not a {_named(kind)}")
        header[key] = tuple(value) if isinstance(value, list) else value
    evaluation_seeds = table.pop(EVALUATION_SEEDS, [0])
    if not _is(evaluation_seeds, list[int]) or not evaluation_seeds:
        raise UserError(f"profile {path}: {EVALUATION_SEEDS!r} is not a list of one or more seeds")
    small_models = table.pop(SMALL_MODELS, False)
    if not _is(small_models, bool):
        raise UserError(f"profile {path}: {SMALL_MODELS!r} is neither true nor false")
    for key, seeds in (("seeds", header["seeds"]), (EVALUATION_SEEDS, evaluation_seeds)):
        if wrong := next((seed for seed in seeds if not 0 <= seed <= LARGEST_NUMBER), None):
            raise UserError(f"profile {path}: {key!r} has {_shown(wrong)}: give seeds from 0 to {LARGEST_NUMBER}")
    per_dataset = table.pop(PER_DATASET, {})
    _require_table(per_dataset, path, PER_DATASET)
    for place, sections in [("", table), *((f"{PER_DATASET}.{name}", part) for name, part in per_dataset.items())]:
        _require_table(sections, path, place)
        for section, settings in sections.items():
            _require_table(settings, path, f"{place}.{section}" if place else section)
    return Profile(
        name=path.stem,
        sections=table,
        per_dataset=per_dataset,
        evaluation_seeds=tuple(evaluation_seeds),
        small_models=small_models,
        **header,
    )


def _whole(content: bytes, path: Path, below: tuple[Path, ...]) -> Sections:
    """The table of a profile upon that of the one it extends; `below` are the profiles that extend this one."""
    table = toml.parse(content, f"profile {path}")
    base = table.pop(EXTENDS, None)
    if base is None:
        return table
    under = _path(base, path.parent) if isinstance(base, str) else None
    if under is None:
        good = f"give one of {', '.join(profile_names())}, or a .toml file beside it"
        raise UserError(f"profile {path}: {EXTENDS!r} is {_shown(base)}: {good}")
    chain = (*below, path)
    if under.resolve() in [one.resolve() for one in chain]:
        names = " -> ".join(one.stem for one in (*chain, under))
        raise UserError(f"profile {chain[0]} extends itself ({one_line(names)}): remove one {EXTENDS!r}")
    return _upon(_whole(toml.content(under, f"profile {under}"), under, chain), table)


def _upon(base: Any, own: Any) -> Any:
    """`own` with what only `base` has; a section setting by setting."""
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return base | {name: _upon(base.get(name), value) for name, value in own.items()}


def _is(value: Any, kind: Any) -> bool:
    """Whether the value is of exactly that type, or a list of such values: true is no whole number."""
    if get_origin(kind) is list:
        inner = get_args(kind)[0]
        return isinstance(value, list) and all(type(one) is inner for one in value)
    return type(value) is kind


def _named(kind: Any) -> str:
    words = {list[str]: "list of strings", list[int]: "list of whole numbers", str: "string"}
    return words[kind]


def _require_table(value: Any, path: Path, place: str) -> None:
    if not isinstance(value, dict):
        raise UserError(f"profile {path}: {_shown(place)} is not a section of settings")


def parse_overrides(texts: Iterable[str], sections: Iterable[str]) -> Sections:
    """`section.name=value` texts to settings by section; a value is read as TOML, else taken as a word."""
    known = list(sections)
    parsed: Sections = {}
    for text in texts:
        key, equals, value = text.partition("=")
        section, dot, name = key.strip().rpartition(".")
        if not (equals and dot and section and name):
            raise UserError(f"--set {_shown(text)} is not of the form section.name=value, for instance ebm.steps=50")
        if section not in known:
            raise UserError(
                f"--set {_shown(text)}: unknown section {_shown(section)}: choose one of {', '.join(known)}"
            )
        parsed.setdefault(section, {})[name] = _toml_or_word(value)
    return parsed


def _toml_or_word(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()  # a line end and another setting after it


def build(config: type[T], values: Mapping[str, Any], section: str) -> T:
    """The configuration dataclass from `values`, checked by name, type and range; UserError names what is good."""
    types = get_type_hints(config)
    fields = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    checked = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"unknown setting {section}.{_plain(name)}: choose one of {', '.join(fields)}")
        checked[name] = _checked(value, types[name], f"{section}.{name}")
    try:
        return config(**checked)
    except ValueError as error:
        reason = str(error)  # which ends in the range: what is too long is the value before it
        reason = reason if len(reason) <= 6 * LONGEST else f"{reason[:LONGEST]}...{reason[-2 * LONGEST :]}"
        raise UserError(f"setting {section}.{reason}") from None


def _checked(value: Any, kind: Any, name: str) -> Any:
    if get_origin(kind) is tuple:  # tuple[float, ...]
        inner = get_args(kind)[0]
        if not isinstance(value, list | tuple):
            example = "['noise']" if inner is str else "[1, 2]"
            raise UserError(f"setting {name}={_shown(value)} is not a list: give one, for instance {name}={example}")
        return tuple(_checked(one, inner, name) for one in value)
    if type(value) is int and abs(value) > LARGEST_NUMBER:
        raise UserError(f"setting {name}={_shown(value)} is too large: give at most {LARGEST_NUMBER}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise UserError(f"setting {name}={_shown(value)} has the wrong type: give a value of type {kind.__name__}")
    if kind is float and not abs(value) < float("inf"):
        raise UserError(f"setting {name}={value!r} is not finite: give a finite number")
    return value


def _plain(name: str) -> str:
    """A name as it is if it can stand in a line, else as Python writes it."""
    return name if name.isprintable() and len(name) <= LONGEST else _shown(name)


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
