"""The parts of a paper run: the cells of Table 1, and a results folder for each further point of an ablation.

OUT/main is an ordinary results folder with the profile's own settings. Every point of Tables 2, 3a and 3b with the same
settings is one of its cells. A point that differs has a folder named by its overrides, OUT/ebm.steps=10,ebm.sigma=0.1.
So each folder has one configuration, and `python -m bench.compare --out OUT/main` shares the cells. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import toml
from bench.config.settings import LARGEST_NUMBER, PROFILES, Profile, Sections, load_profile, standalone
from bench.errors import UserError, one_line
from bench.storage.files import write_bytes

SCALES = Path(__file__).parent / "scales"
MAIN = "main"
FIGURES = "figures"  # their folder, under OUT
MODEL = "ebm"  # the model of the ablations
TABLES = {"table1": ("1a", "1b"), "table2": ("2",), "table3a": ("3a",), "table3b": ("3b",)}  # part of a scale -> tables
TOY = "toy"
PARTS = (*TABLES, TOY)  # the parts of a run
AXES = {"2": "steps", "3a": "sigma", "3b": "n_f"}  # table -> the setting that its ablation varies
SYMBOLS = {"steps": "K", "sigma": "sigma", "n_f": "n_f"}  # of the settings in an ablation's table
SETTINGS = tuple(SYMBOLS)
_ORDER = ("steps", "sigma", "sigma_final", "n_f")  # in a folder's name; other settings follow in alphabetical order
_ALLOWED = {
    "table1": {"datasets", "models", "seeds"},
    "ablation": {"dataset", "seeds", "fixed", "points"},
    TOY: {"updates"},
}


@dataclass(frozen=True)
class Point:
    """One point of an ablation: `settings` are K, sigma and n_f, `overrides` is all that differs from the profile."""

    settings: dict[str, float]
    overrides: dict[str, Any]

    @property
    def folder(self) -> str:
        """The folder of its cells, under OUT."""
        return ",".join(f"{MODEL}.{name}={value:g}" for name, value in self.overrides.items()) or MAIN


@dataclass(frozen=True)
class Ablation:
    """Table 2, 3a or 3b."""

    table: str
    dataset: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]

    @property
    def axis(self) -> str:
        return AXES[self.table]

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.axis]

    def fixed(self) -> dict[str, float]:
        """The settings that all points share."""
        first = self.points[0].settings
        return {name: x for name, x in first.items() if all(point.settings[name] == x for point in self.points)}


@dataclass(frozen=True)
class Run:
    """Cells of one results folder that form a full grid: data sets x models x training seeds."""

    folder: str
    overrides: Sections
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]

    def holds(self, other: Run) -> bool:
        pairs = ((self.datasets, other.datasets), (self.models, other.models), (self.seeds, other.seeds))
        return self.folder == other.folder and all(set(theirs) <= set(ours) for ours, theirs in pairs)


@dataclass(frozen=True)
class Plan:
    """A scale with its profile. `datasets`, `models` and `seeds` are those of Table 1."""

    scale: str
    description: str
    profile: Profile
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    ablations: tuple[Ablation, ...]
    toy: dict[str, int]  # settings of the two-dimensional examples: `updates`, or none for the default
    files: tuple[Path, Path]  # the scale's and the profile's

    def runs(self, only: Iterable[str] = ()) -> list[Run]:
        """What to run for the parts `only` (of PARTS; empty: all), each cell once and Table 1 first."""
        wanted = {table for part in only or TABLES for table in TABLES.get(part, ())}
        runs = [Run(MAIN, {}, self.datasets, self.models, self.seeds)] if "1a" in wanted else []
        for ablation in self.ablations:
            for point in ablation.points if ablation.table in wanted else ():
                overrides = {MODEL: point.overrides} if point.overrides else {}
                run = Run(point.folder, overrides, (ablation.dataset,), (MODEL,), ablation.seeds)
                if not any(other.holds(run) for other in runs):
                    runs.append(run)
        return runs

    @property
    def folders(self) -> list[str]:
        """Every results folder of the run, `main` first."""
        points = (point.folder for ablation in self.ablations for point in ablation.points)
        return list(dict.fromkeys([MAIN, *points]))


def scale_names() -> list[str]:
    return sorted(path.stem for path in SCALES.glob("*.toml"))


def load(name: str) -> Plan:
    """A shipped scale by name, or a TOML file by path; UserError if it is neither, or malformed."""
    path = SCALES / f"{name}.toml" if name in scale_names() else Path(name)
    if path.suffix != ".toml" or not path.is_file():
        raise UserError(f"unknown scale {name!r}: choose one of {', '.join(scale_names())}, or give a .toml file")
    return _read(path)


def save(out: Path, plan: Plan) -> None:
    """Store scale and profile in OUT, so that its tables can be rebuilt even if the shipped ones change."""
    scale, profile = plan.files
    for kind, path, content in (("scale", scale, scale.read_bytes()), ("profile", profile, standalone(profile))):
        target = out / kind / path.name
        write_bytes(target, content)
        for other in target.parent.glob("*.toml"):
            if other != target:
                other.unlink()


def stored(out: Path) -> Plan | None:
    """The plan that OUT was run with, or None if there is none. UserError for files that do not contain one."""
    scales, profiles = sorted(out.glob("scale/*.toml")), sorted(out.glob("profile/*.toml"))
    if not scales or not profiles:
        return None
    return _read(scales[0], profiles[0])


def _read(path: Path, profile: Path | None = None) -> Plan:
    table = toml.parse(toml.content(path, f"scale {path}"), f"scale {path}")
    for key in ("description", "profile"):
        _check(path, isinstance(table.get(key), str), f"{key!r} is missing or not a str")
    unknown = next((key for key in table if key not in ("description", "profile", *PARTS)), None)
    _check(path, unknown is None, f"unknown part {unknown!r}: choose one of {', '.join(PARTS)}")
    settings = load_profile(str(profile or table["profile"]))
    shipped = PROFILES / f"{table['profile']}.toml"
    first, toy = _part(path, table, "table1"), _part(path, table, TOY)
    updates = toy.get("updates", 1)
    _check(path, type(updates) is int and updates > 0, f"{TOY}.updates = {updates!r} is not a whole number above 0")
    return Plan(
        scale=path.stem,
        description=table["description"],
        profile=settings,
        datasets=_list(path, "table1.datasets", first.get("datasets", list(settings.datasets)), str),
        models=_list(path, "table1.models", first.get("models", list(settings.models)), str),
        seeds=_seeds(path, "table1", first, settings),
        ablations=tuple(
            _ablation(path, key, tables[0], _part(path, table, key), settings)
            for key, tables in TABLES.items()
            if key != "table1" and key in table
        ),
        toy=toy,
        files=(path, profile or (shipped if shipped.is_file() else Path(table["profile"]))),
    )


def _ablation(path: Path, key: str, table: str, part: dict[str, Any], profile: Profile) -> Ablation:
    dataset, fixed, points = part.get("dataset"), part.get("fixed", {}), part.get("points")
    _check(path, isinstance(dataset, str), f"{key}.dataset is missing or not a str")
    listed = isinstance(points, list) and points and all(isinstance(one, dict) for one in [fixed, *points])
    _check(path, listed, f"{key}.points is not a list of settings, such as [{{ steps = 10, sigma = 0.1 }}]")
    base = profile.settings(dataset, MODEL)
    found = [_point(path, f"{key}.points", fixed | point, base) for point in points]
    places = [point.settings[AXES[table]] for point in found]
    _check(path, len(set(places)) == len(places), f"{key}.points has {AXES[table]} = {places}: give each value once")
    return Ablation(table, dataset, _seeds(path, key, part, profile), tuple(found))


def _point(path: Path, key: str, values: dict[str, Any], base: dict[str, Any]) -> Point:
    for name, value in values.items():
        good = type(value) in (int, float) and 0 < value < float("inf")
        _check(path, good, f"{key}: {name} = {value!r} is not a number above 0")
        named = re.fullmatch(r"[a-z][a-z0-9_]*", name)  # it becomes a folder's name
        _check(path, named, f"{key}: {name!r} is not a setting of {MODEL}")
    if "sigma" in values and "sigma_final" not in values:  # if sigma falls during training, it falls in proportion
        ratio = base["sigma_final"] / base["sigma"] if base.get("sigma") and "sigma_final" in base else 1.0
        values |= {"sigma_final": float(f"{values['sigma'] * ratio:.6g}")}
    stated = base | values
    missing = next((name for name in SETTINGS if name not in stated), None)
    _check(path, missing is None, f"{key}: neither the points nor the profile state {missing}: add it")
    order = sorted(values, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    overrides = {name: values[name] for name in order if base.get(name) != values[name]}
    return Point({name: stated[name] for name in SETTINGS}, overrides)


def _part(path: Path, table: dict[str, Any], key: str) -> dict[str, Any]:
    part, allowed = table.get(key, {}), _ALLOWED.get(key, _ALLOWED["ablation"])
    _check(path, isinstance(part, dict), f"{key} is not a section of settings")
    unknown = next((name for name in part if name not in allowed), None)
    _check(path, unknown is None, f"unknown setting {key}.{unknown}: choose one of {', '.join(sorted(allowed))}")
    return part


def _seeds(path: Path, key: str, part: dict[str, Any], profile: Profile) -> tuple[int, ...]:
    seeds = _list(path, f"{key}.seeds", part.get("seeds", list(profile.seeds)), int)
    _check(path, min(seeds) >= 0, f"{key}.seeds = {list(seeds)} has a negative seed")
    shown = one_line(max(seeds), 40)
    _check(path, max(seeds) <= LARGEST_NUMBER, f"{key}.seeds has {shown}: give at most {LARGEST_NUMBER}")
    return seeds


def _list(path: Path, key: str, value: Any, kind: type) -> tuple[Any, ...]:
    good = isinstance(value, list) and value and all(type(one) is kind for one in value)
    _check(path, good, f"{key} = {value!r} is not a list of one or more values of type {kind.__name__}")
    _check(path, len(set(value)) == len(value), f"{key} = {value!r} has a value twice: give each once")
    return tuple(value)


def _check(path: Path, good: Any, what: str) -> None:
    if not good:
        raise UserError(f"scale {path}: {what}")
