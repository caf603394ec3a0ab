"""What was asked for, and the cells that it comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import data as datasets
from bench.config import registry
from bench.config.settings import Profile, Sections, build
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import EvaluationConfig
from bench.grid.cell import Cell
from bench.grid.training import TrainingConfig
from bench.scoring.setup import Setup

SECTIONS = {"data": DataConfig, "training": TrainingConfig, "evaluation": EvaluationConfig}


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    setup: Setup
    profile: Profile
    overrides: Sections
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]  # of training
    evaluation_seeds: tuple[int, ...]
    out: Path
    command: str
    track: tuple[str, ...] = ()  # names of `bench.tracking.TRACKERS`


def plan(request: Request) -> list[Cell]:
    """All cells of a request, in the order in which they run; UserError for what cannot be planned."""
    models = _labelled("models", {name: registry.label(name) for name in request.models}, request.models)
    sources = _labelled("datasets", {name: datasets.label(name) for name in request.datasets}, request.datasets)
    _refuse_unknown_sections(request.profile, [*SECTIONS, *registry.MODELS, *models.values()])
    factories = {name: registry.factory(name) for name in models}
    cells = []
    for source, dataset in sources.items():
        settings = {
            section: build(kind, _values(request, dataset, section), section) for section, kind in SECTIONS.items()
        }
        if settings["training"].checkpoint == "best" and not settings["data"].validation:
            raise UserError(
                "training.checkpoint='best' is chosen by validation images, and data.validation is 0: set how many "
                "training images are set apart, or training.checkpoint=last"
            )
        configs = {
            name: build(factory.Config, _values(request, dataset, label, factory), label)
            for (name, label), factory in zip(models.items(), factories.values(), strict=True)
        }
        cells += [
            Cell(
                source=source,
                dataset=dataset,
                model=label,
                model_name=name,
                factory=factories[name],
                seed=seed,
                **settings,
                evaluation_seeds=request.evaluation_seeds,
                config=configs[name],
                out=request.out,
            )
            for seed in request.seeds
            for name, label in models.items()
        ]
    return cells


def _values(request: Request, dataset: str, section: str, factory: Any = None) -> dict[str, object]:
    """The settings of a section: the profile's, then the overrides.

    Those of a model, made by `factory`, may start from its smoke settings and from another model's.
    """
    small = request.profile.small_models and factory is not None
    values = registry.smoke(factory) if small else {}
    for name in filter(None, (getattr(factory, "inherits", None), section)):
        values |= request.profile.settings(dataset, name) | request.overrides.get(name, {})
    return values


def _refuse_unknown_sections(profile: Profile, known: Iterable[str]) -> None:
    known = list(known)
    for sections in (profile.sections, *profile.per_dataset.values()):
        unknown = next((name for name in sections if name not in known), None)
        if unknown:
            raise UserError(f"profile {profile.name}: unknown section {unknown!r}: choose one of {', '.join(known)}")


def _labelled(what: str, labels: dict[str, str], asked: tuple[str, ...]) -> dict[str, str]:
    """Name to label, refused when a name or a label is given twice."""
    if len(labels) < len(asked):
        raise UserError(f"--{what} {' '.join(asked)} names one twice: name each once")
    taken: dict[str, str] = {}
    for name, label in labels.items():
        if label in taken:
            raise UserError(f"--{what}: {taken[label]!r} and {name!r} would both be called {label!r}: run them apart")
        taken[label] = name
    return labels
