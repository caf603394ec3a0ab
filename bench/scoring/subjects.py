"""What `bench.evaluate` scores: a model of the suite or images made elsewhere, and the scores as table and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.config import registry
from bench.config.settings import Sections, build
from bench.contract.model import GenerativeModel, count_parameters
from bench.contract.scores import Score
from bench.contract.seeds import seeded
from bench.data import DataConfig
from bench.data.folder import SOURCE
from bench.errors import UserError, one_line
from bench.evaluation import EvaluationConfig, Evaluator, Picture
from bench.evaluation.references import Reference
from bench.results.entries import curves_json, references_json, scores_json, throughput_json, untrained_json
from bench.scoring.setup import Setup
from bench.storage.checkpoint import load_checkpoint
from bench.storage.files import write_bytes, write_json

FILE = "scores.json"
ARROWS = {"lower": " ↓", "higher": " ↑"}  # by what is better
Json = dict[str, Any]  # values that a JSON file can hold


@dataclass(frozen=True)
class Scores:
    """What was scored, against which images and how well."""

    source: Path
    evaluator: Evaluator
    seeds: tuple[int, ...]
    scores: list[Score]
    references: dict[str, Reference]
    pictures: dict[str, Picture]
    further: Json  # what is known of a source of this kind alone

    def content(self) -> Json:
        """What scores.json holds."""
        data, extractor = self.evaluator.data, self.evaluator.extractor
        return {
            "source": str(self.source),
            "dataset": data.name,
            "data": data.describe(),
            "evaluation": {"extractor": extractor.label, **asdict(self.evaluator.config)},
            "evaluation_seeds": list(self.seeds),
            "metrics": scores_json(self.scores),
            "references": references_json(self.references),
            **self.further,
            "images": {name: picture.describe(f"{name}.png") for name, picture in self.pictures.items()},
        }

    def table(self) -> str:
        """The scores as Markdown: a row each, with its interval, and the real and the noise reference."""
        head = ["score", "value", "95 % interval", *(reference.title for reference in self.references.values())]
        bounds = [{one.name: one for one in reference.scores} for reference in self.references.values()]
        lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
        for one in self.scores:
            interval = f"[{one.interval[0]:.4g}, {one.interval[1]:.4g}]" if one.interval else "–"
            others = [f"{known[one.name].value:.4g}" if one.name in known else "–" for known in bounds]
            cells = [one.label + ARROWS.get(one.better, ""), format(one.value, ".4g"), interval, *others]
            lines.append(f"| {' | '.join(cells)} |")
        counts = next(one for one in self.scores if one.group == "samples")
        made, real = f"{counts.n_generated:,} images of {self.source}", f"{counts.n_real:,}"
        against = f"{made} against {real} of {self.evaluator.data.name}"
        return "\n".join([*lines, "", f"{against}; features: {self.evaluator.extractor.label}."])

    def write(self, out: Path) -> None:
        """scores.json and the pictures into a folder; UserError where it cannot be written."""
        try:
            for name, picture in self.pictures.items():
                write_bytes(out / f"{name}.png", picture.png())
            write_json(out / FILE, self.content())
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"--out {out} cannot be written ({reason}): choose another folder") from None


class Subject(Protocol):
    """What can be scored."""

    makes: str  # what makes images of `image_shape`, with its verb
    image_shape: tuple[int, ...]  # channels, height, width
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
        factory = registry.factory(name)
        try:
            config = build(factory.Config, own.pop("model"), registry.label(name))

            def untrained() -> GenerativeModel:
                return factory(config, shape, generator=seeded(self.seed, "weights"), device=setup.device).model

            self.untrained, self.model = untrained, untrained()
            self.model.load_state_dict(state)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = one_line(error)
            raise UserError(f"{path} does not fit the model {name!r} of this version ({reason})") from None
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
        return Scores(self.path, evaluator, seeds, found.scores, found.references, found.pictures, further)


class ImagesFolder:
    """Images made elsewhere: all of a folder, or the first `wanted`. UserError where there are fewer."""

    def __init__(self, path: Path, dataset: str, wanted: object, *, side: int, progress: bool):
        pool = SOURCE.open(path, side, progress)
        count = len(pool) if wanted is None else wanted
        if not isinstance(count, int) or count > len(pool):
            raise UserError(f"{path} holds {len(pool)} images: evaluation.samples={count!r} must be at most that")
        self.images, self.notes = pool.read(range(count))
        self.path, self.dataset, self.image_shape = path, dataset, tuple(self.images.shape[1:])
        self.settings: Sections = {"evaluation": {"samples": count}}
        self.makes = f"the images of {path} are"

    def fit(self, image_shape: tuple[int, int, int]) -> None:
        """One channel where all three are equal and the data set is grey: torchvision saves grey images as RGB."""
        images = self.images
        if images.shape[1] == 3 and image_shape[0] == 1 and bool((images == images[:, :1]).all()):
            self.images = images[:, :1].contiguous()
            self.image_shape = tuple(self.images.shape[1:])
            n = f"{len(images):,}"
            self.notes = (*self.notes, f"{n} of {n} images had three equal channels, of which one was taken")

    def score(self, evaluator: Evaluator, seeds: tuple[int, ...]) -> Scores:
        """The scores of samples alone."""
        scores, references, pictures = evaluator.evaluate_images(self.images, seeds)
        return Scores(self.path, evaluator, seeds, scores, references, pictures, {"notes": list(self.notes)})


def score(source: Path, dataset: str | None, overrides: Sections, seeds: tuple[int, ...], setup: Setup) -> Scores:
    """The scores of a checkpoint or a folder of images, against `dataset` or the checkpoint's own.

    Raises UserError for what cannot be scored, DivergedError for a model whose images are not finite.
    """
    setup.configure()
    found = _subject(source, dataset, overrides, setup)
    data, evaluation = (
        build(kind, found.settings.get(section, {}) | overrides.get(section, {}), section)
        for section, kind in (("data", DataConfig), ("evaluation", EvaluationConfig))
    )
    evaluator = setup.evaluator(dataset or found.dataset, data, evaluation)
    real = evaluator.data
    found.fit(real.image_shape)
    if found.image_shape != real.image_shape:
        raise UserError(
            f"{found.makes} {_sides(found.image_shape)} (channels, height, width), those of {real.name} "
            f"{_sides(real.image_shape)}: choose the --dataset and --image-size that they were made for"
        )
    return found.score(evaluator, seeds)


def _subject(source: Path, dataset: str | None, overrides: Sections, setup: Setup) -> Subject:
    if not source.is_dir():
        return Checkpoint(source, setup)
    if dataset is None:
        raise UserError(f"{source} is a folder of images: say with --dataset what they are held against")
    wanted = overrides.get("evaluation", {}).get("samples")
    side = build(DataConfig, overrides.get("data", {}), "data").image_size
    return ImagesFolder(source, dataset, wanted, side=side, progress=setup.progress)


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
