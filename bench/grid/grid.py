"""The grid of cells (data set, model, training seed): plan, refuse what cannot go well, run what is not there yet."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import data as datasets
from bench import features
from bench.config import registry
from bench.config.settings import Profile, Sections, build
from bench.data import DataConfig, ImageData
from bench.errors import UserError
from bench.evaluation import EvaluationConfig, Evaluator
from bench.grid import space
from bench.grid.cell import Cell, clean, new_trainer, run_cell, say
from bench.grid.training import TrainingConfig
from bench.machine import runtime
from bench.results.layout import RECORD_NAME, cell_folder
from bench.results.locks import cell_lock, released, taken
from bench.results.record import Record, first_difference, read, read_all
from bench.results.status import CellStatus, read_status, write_status

WAIT = 2.0  # seconds between looks at cells that other processes work on
SECTIONS = {"data": DataConfig, "training": TrainingConfig, "evaluation": EvaluationConfig}


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    profile: Profile
    overrides: Sections
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]  # of training
    evaluation_seeds: tuple[int, ...]
    features: str
    extractor_weights: Path | None
    cache: Path | None  # where features of real images are kept
    out: Path
    data_root: Path
    device: str
    threads: int | None
    command: str
    progress: bool


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
        configs = {
            name: build(
                factory.Config, _values(request, dataset, models[name], getattr(factory, "inherits", None)), label
            )
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
                folder=cell_folder(request.out, dataset, label, seed),
            )
            for seed in request.seeds
            for name, label in models.items()
        ]
    return cells


def _values(request: Request, dataset: str, section: str, inherits: str | None = None) -> dict[str, object]:
    """The settings of a section: the profile's, then the overrides; a model's may start from another model's."""
    values: dict[str, object] = {}
    for name in filter(None, (inherits, section)):
        values |= request.profile.settings(dataset, name) | request.overrides.get(name, {})
    return values


def _refuse_unknown_sections(profile: Profile, known: Iterable[str]) -> None:
    known = list(known)
    for sections in (profile.sections, *profile.per_dataset.values()):
        unknown = next((name for name in sections if name not in known), None)
        if unknown:
            raise UserError(f"profile {profile.name}: unknown section {unknown!r}: choose one of {', '.join(known)}")


def _labelled(what: str, labels: dict[str, str], asked: tuple[str, ...]) -> dict[str, str]:
    """Name to label, refused when a name or a label stands twice."""
    if len(labels) < len(asked):
        raise UserError(f"--{what} {' '.join(asked)} names one twice: name each once")
    taken: dict[str, str] = {}
    for name, label in labels.items():
        if label in taken:
            raise UserError(f"--{what}: {taken[label]!r} and {name!r} would both be called {label!r}: run them apart")
        taken[label] = name
    return labels


Evaluators = dict[tuple[object, ...], Evaluator]  # by all that decides one; requests may share them


def prepare(request: Request, evaluators: Evaluators) -> list[Cell]:
    """All cells of a request, after everything was refused that can be, with nothing written and nothing trained.

    `evaluators` gets those that the cells need.
    """
    runtime.configure(request.threads)
    device = runtime.resolve_device(request.device)
    cells = plan(request)
    space.refuse_unwritable(request.out)
    extractor = features.resolve(request.features, device=device, weights=request.extractor_weights)
    records = read_all(request.out)
    _refuse_conflicts(cells, records, request.out, extractor.label)
    kept = most = 0  # bytes on the disk
    for cell in cells:
        key = _key(cell, request)
        if key not in evaluators:
            images = datasets.load(
                cell.source,
                request.data_root,
                cell.data,
                spare=max(0, cell.evaluation.samples - cell.data.held_out),
                progress=request.progress,
            )
            for note in images.notes:
                say(f"{cell.dataset}: {note}")
            evaluators[key] = Evaluator(
                images,
                extractor,
                cell.evaluation,
                cache=request.cache,
                data_root=request.data_root,
                progress=request.progress,
            )
        if cell.seed == request.seeds[0]:
            images = evaluators[key].data
            _refuse_other_images(records, request.out, images)
            trainer = new_trainer(cell, images.image_shape, torch.device("cpu"))
            missing = sum(not done(one) for one in cells if (one.source, one.model) == (cell.source, cell.model))
            kept += missing * space.when_done(trainer)
            most = max(most, space.while_training(trainer) if missing else 0)
    space.refuse_full(request.out, kept + most)
    return cells


def run(request: Request) -> list[str]:
    """`prepare` and `complete`: the status of all cells in order, of `records_schema.STATUSES`."""
    evaluators: Evaluators = {}
    return complete(request, prepare(request, evaluators), evaluators)


def complete(request: Request, cells: list[Cell], evaluators: Evaluators) -> list[str]:
    """Run every cell of `prepare` that has no record yet; the status of all cells in order.

    Several processes may run one grid: each takes the cells that no other one works on.
    """
    for cell in cells:
        lock = cell_lock(request.out, cell.dataset, cell.model, cell.seed)
        if taken(lock):  # else another process tells of it
            with released(lock):
                if not done(cell) and read_status(cell.folder) is None:
                    write_status(cell.folder, CellStatus("waiting", updates=cell.config.updates))
    return _run_all(cells, evaluators, request)


def _key(cell: Cell, request: Request) -> tuple[object, ...]:
    weights = request.extractor_weights
    return cell.source, cell.data, cell.evaluation, request.features, weights, request.device, request.data_root


def _run_all(cells: list[Cell], evaluators: Evaluators, request: Request) -> list[str]:
    """Cells in their order; one that another process works on is left until it is there, or free."""
    statuses: dict[int, str] = {}
    told = False
    while len(statuses) < len(cells):
        ran = False
        for index, cell in enumerate(cells):
            lock = cell_lock(request.out, cell.dataset, cell.model, cell.seed)
            if index in statuses or not taken(lock):
                continue
            ran = True
            title = f"[{index + 1}/{len(cells)}] {cell.dataset} {cell.model} seed {cell.seed}"
            with released(lock):
                statuses[index] = _one(cell, evaluators[_key(cell, request)], request, title)
        if not ran and len(statuses) < len(cells):
            if not told:
                say(f"waiting for {len(cells) - len(statuses)} cells that another process works on")
            told = True
            time.sleep(WAIT)
    return [statuses[index] for index in range(len(cells))]


def done(cell: Cell) -> bool:
    return (cell.folder / RECORD_NAME).exists()


def _one(cell: Cell, evaluator: Evaluator, request: Request, title: str) -> str:
    if done(cell):
        status = read(cell.folder / RECORD_NAME)["status"]
        clean(cell.folder, status)
        say(f"{title}: already there ({status})")
        return status
    return run_cell(
        cell,
        evaluator,
        device=runtime.resolve_device(request.device),
        profile=request.profile.name,
        command=request.command,
        title=title,
        progress=request.progress,
    )


def _refuse_conflicts(cells: list[Cell], records: list[Record], out: Path, extractor: str) -> None:
    """One folder, one protocol: a data set's records share its settings, a model's records the model's."""
    for record in records:
        for cell in cells:
            if cell.dataset != record.dataset:
                continue
            there, here = dict(record.data["config"]), cell.settings(extractor)
            if cell.model != record.model:
                there.pop("model"), here.pop("model")
            difference = first_difference(there, here)
            if difference:
                raise UserError(
                    f"{out} holds records of {record.dataset} / {record.model} with another configuration "
                    f"({difference}): choose another --out, or move those records away"
                )


def _refuse_other_images(records: list[Record], out: Path, images: ImageData) -> None:
    for record in records:
        if record.dataset == images.name and record.data["data"]["content_hash"] != images.content_hash:
            raise UserError(
                f"{out} holds records of other images called {images.name!r}: choose another --out, "
                "or move those records away"
            )
