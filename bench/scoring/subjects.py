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
from bench.results.entries import curves_json, throughput_json, untrained_json
from bench.scoring.elsewhere import Array, Folder, Generator
from bench.scoring.models import maker, with_weights
from bench.scoring.scores import About, Origin, Scores
from bench.scoring.setup import Setup
from bench.storage.checkpoint import load_checkpoint


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
    """The model of a finished cell, with its record's settings. UserError for another file, or another version's."""

    def __init__(self, path: Path, setup: Setup):
        unfit = f"{path} is no model of a finished cell: give the model.safetensors that lies beside its record"
        try:
            state, about = load_checkpoint(path, setup.device)
        except UserError as error:
            raise UserError(unfit) from error
        try:
            own: Sections = {name: dict(about["config"][name]) for name in ("data", "model", "evaluation")}
            shape, self.seed, self.label = tuple(about["data"]["image_shape"]), about["training_seed"], about["model"]
            name, self.dataset = own["model"].pop("factory"), own["data"].pop("source")
        except (KeyError, TypeError, ValueError):
            raise UserError(unfit) from None
        for extra in ("extractor", "seeds"):
            own["evaluation"].pop(extra, None)
        self.untrained = maker(name, own.pop("model"), shape, self.seed, setup.device)
        self.model = with_weights(self.untrained, state, str(path))
        self.path, self.image_shape, self.settings = path, shape, own
        self.makes = f"the model {path} makes"

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """A model makes what it was trained on."""

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores:
        """All that a record holds of a model."""
        found = evaluator.evaluate(self.model, seeds, self.untrained)
        further = {
            "model": self.label,
            "training_seed": self.seed,
            "parameters": count_parameters(self.model.sampler),
            "latent_dimensions": self.model.latent_dimensions,
            "untrained": untrained_json(found.untrained),
            "throughput": throughput_json(found.throughput),
            "curves": curves_json(found.curves),
        }
        return Scores(str(self.path), evaluator, seeds, found.scores, found.references, found.pictures, further)


def score(
    source: str,
    dataset: str | None,
    overrides: Sections,
    seeds: tuple[int, ...],
    setup: Setup,
    about: About | None = None,
) -> Scores:
    """The scores of a checkpoint, a folder of images, an array file or a generator, against `dataset`.

    A checkpoint has a data set of its own. `about` is for images made elsewhere alone.
    Raises UserError for what cannot be scored, DivergedError for a model whose images are not finite.
    """
    setup.configure()
    about = about or About()
    found = _subject(source, dataset, overrides, setup)
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


def _subject(source: str, dataset: str | None, overrides: Sections, setup: Setup) -> Subject:
    path, wanted = Path(source), overrides.get("evaluation", {}).get("samples")
    generator = not path.exists() and plugins.split(source)
    if not (generator or path.is_dir() or path.name.lower().endswith(arrays.ENDINGS)):
        return Checkpoint(path, setup)
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
