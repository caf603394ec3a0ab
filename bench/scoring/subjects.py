"""What `bench.evaluate` scores: a model of the suite, or images made elsewhere (`bench/scoring/elsewhere.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bench.config.settings import Sections, build
from bench.contract import plugins
from bench.contract.model import count_parameters
from bench.data import DataConfig, arrays
from bench.errors import UserError
from bench.evaluation import EvaluationConfig, Evaluator
from bench.results import shipped
from bench.results.cell_folder import WEIGHTS
from bench.results.entries import curves_json, throughput_json, untrained_json
from bench.results.exported import CONFIG
from bench.scoring.elsewhere import Array, Folder, Generator
from bench.scoring.scores import About, Origin, Scores
from bench.scoring.setup import Setup
from bench.scoring.stored import export_scored, is_stored, read_cell, read_export


class Subject(Protocol):
    """What can be scored."""

    makes: str  # what makes images of `image_shape`, with its verb
    image_shape: tuple[int, ...]  # channels, height, width
    label: str  # in tables, unless the user says otherwise
    dataset: str  # what it is held against unless the user says otherwise
    settings: Sections  # data and evaluation, before what the user overrides

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """Bring images into the form of a data set's, where nothing is lost by it."""
        ...

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores: ...


class Checkpoint:
    """A stored model: the model.safetensors or the folder of a finished cell, or a folder that `bench.export` wrote.

    Its own settings of data and evaluation are those of its record. UserError for anything else, for another version's,
    and for an exported model whose code is its author's, unless that is trusted.
    """

    def __init__(self, path: Path, setup: Setup, *, trust_code: bool = False, shown: str = ""):
        folder = path if path.is_dir() else path.parent
        if (folder / CONFIG).is_file() and path in (folder, folder / WEIGHTS):
            stored = read_export(folder)
            if not trust_code:
                stored.check_trusted("give --trust-code")
            scored = export_scored(folder)
        else:
            stored, scored = read_cell(path / WEIGHTS if path.is_dir() else path, setup.device)
        self.seed, self.label, self.image_shape = stored.seed, stored.label, stored.image_shape
        self.dataset, self.settings = scored.dataset, scored.settings
        self.untrained = stored.maker(setup.device)
        self.model = stored.load(self.untrained)
        self.sampling = lambda: setup.sampling.opened(stored.untrained, self.model)
        self.source = shown or str(path)
        self.makes = f"the model {self.source} makes"

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """A model makes what it was trained on."""

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores:
        """All that a record holds of a model."""
        found = evaluator.evaluate(self.model, seeds, self.untrained, self.sampling)
        further = {
            "model": self.label,
            "training_seed": self.seed,
            "parameters": count_parameters(self.model.sampler),
            "latent_dimensions": self.model.latent_dimensions,
            "untrained": untrained_json(found.untrained),
            "throughput": throughput_json(found.throughput),
            "curves": curves_json(found.curves),
        }
        return Scores(self.source, evaluator, seeds, found.scores, found.references, found.pictures, further)


def score(
    source: str,
    dataset: str | None,
    overrides: Sections,
    seeds: tuple[int, ...],
    setup: Setup,
    about: About | None = None,
    *,
    trust_code: bool = False,
) -> Scores:
    """The scores of a stored model, a folder of images, an array file or a generator, against `dataset`.

    A stored model has a data set of its own; the name of a shipped one will do. `about` is for images made elsewhere
    alone. An exported model that is not the suite's or an installed package's is imported only with `trust_code`.
    Raises UserError for what cannot be scored, DivergedError for a model whose images are not finite.
    """
    setup.configure()
    about = about or About()
    found = _subject(source, dataset, overrides, setup, trust_code)
    if (workers := setup.sampling.workers) > 1 and not isinstance(found, Checkpoint):
        raise UserError(f"--sampling-workers {workers}: {source} is no model of the suite: drop the option")
    if about.label and isinstance(found, Checkpoint):
        raise UserError(f"--label {about.label}: {source} is a model of the suite, and has a label: drop the option")
    data, evaluation = (
        build(kind, found.settings.get(section, {}) | overrides.get(section, {}), section)
        for section, kind in (("data", DataConfig), ("evaluation", EvaluationConfig))
    )
    chosen = dataset or found.dataset
    evaluator = setup.evaluator(chosen, data, evaluation)
    real = evaluator.data
    found.fit(real.image_shape)
    if found.image_shape != real.image_shape:
        raise UserError(
            f"{found.makes} {_sides(found.image_shape)} (channels, height, width), those of {real.name} "
            f"{_sides(real.image_shape)}: choose the --dataset and --image-size that they were made for"
        )
    scores = found.score(evaluator, seeds)
    if isinstance(found, Checkpoint):
        return scores
    return replace(scores, origin=Origin(replace(about, label=about.label or found.label), chosen, data, setup.device))


def _subject(source: str, dataset: str | None, overrides: Sections, setup: Setup, trust_code: bool) -> Subject:
    path, wanted = shipped.place(source), overrides.get("evaluation", {}).get("samples")
    generator = not path.exists() and plugins.split(source)
    images = (path.is_dir() and not is_stored(path)) or path.name.lower().endswith(arrays.ENDINGS)
    if not (generator or images):
        return Checkpoint(path, setup, trust_code=trust_code, shown=source)
    if dataset is None:
        kind = "generator" if generator else "folder of images" if path.is_dir() else "file of images"
        raise UserError(f"{source} is a {kind}: say with --dataset what they are held against")
    if generator:
        return Generator(source, dataset, setup)
    if not path.is_dir():
        return Array(path, dataset, wanted)
    side = build(DataConfig, overrides.get("data", {}), "data").image_size
    return Folder(path, dataset, wanted, side=side, progress=setup.progress)


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
