"""Score a model of the suite, or images made elsewhere: `python -m bench.evaluate CHECKPOINT|FOLDER --dataset NAME`.

The same images, features and metrics as in `bench.compare`. Of a folder only the samples can be scored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.config.commandline import (
    add_common,
    add_settings,
    check_outside,
    check_seeds,
    check_threads,
    data_root,
    folders_of,
    outcome,
)
from bench.config.console import say
from bench.config.settings import Sections, build, parse_overrides
from bench.errors import DivergedError, UserError

SECTIONS = ("data", "evaluation")
SCORES = "scores.json"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.evaluate",
        description="Score a model.safetensors of the suite, or a folder of images made elsewhere, against a data set.",
    )
    p.add_argument("source", type=Path, metavar="CHECKPOINT|FOLDER", help="a cell's model.safetensors, or images")
    p.add_argument("--dataset", metavar="NAME", help="a data set or folder:PATH (default: the checkpoint's own)")
    p.add_argument("--evaluation-seeds", nargs="+", type=int, default=[0], metavar="N", help="default: 0")
    add_settings(p, "as in bench.compare, of data and evaluation (default: the checkpoint's own)")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="where scores.json and pictures go (default: nowhere)")
    p.add_argument("--force", action="store_true", help="write into an --out that holds files, over scores there")
    add_common(p, "auto")
    p.set_defaults(features="auto")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Write the scores where `--out` says, and print their table; UserError for what cannot be scored."""
    seeds = tuple(arguments.evaluation_seeds)
    check_seeds("--evaluation-seeds", seeds)
    check_threads(arguments.threads)
    overrides = parse_overrides(arguments.set, SECTIONS)
    if arguments.image_size is not None:
        overrides.setdefault("data", {})["image_size"] = arguments.image_size
    if not arguments.source.exists():
        raise UserError(f"there is no {arguments.source}: give a model.safetensors of the suite or a folder of images")
    if arguments.out is not None:
        check_outside(arguments.out, arguments.source, *folders_of([arguments.dataset or ""]))
        _refuse_overwriting(arguments.out, arguments.force)
    from bench.machine import runtime

    runtime.configure(arguments.threads)
    score = _folder if arguments.source.is_dir() else _checkpoint
    scores, pictures = score(arguments, overrides, seeds)
    if arguments.out is None:
        print(table(scores))
        return 0
    _write(arguments.out, scores, pictures)
    say(table(scores))
    say(f"\nscores and pictures: {arguments.out}")
    return 0


def _checkpoint(
    arguments: argparse.Namespace, overrides: Sections, seeds: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All scores of a model of the suite."""
    from bench.config import registry
    from bench.contract.model import count_parameters
    from bench.contract.seeds import seeded
    from bench.machine import runtime
    from bench.storage.checkpoint import load_checkpoint

    device = runtime.resolve_device(arguments.device)
    unfit = f"{arguments.source} is no model of a finished cell: give the model.safetensors that lies beside its record"
    try:
        state, about = load_checkpoint(arguments.source, device)
    except UserError as error:
        raise UserError(unfit) from error
    try:
        settings = {name: dict(about["config"][name]) for name in ("data", "model", "evaluation")}
        shape, seed = tuple(about["data"]["image_shape"]), about["training_seed"]
        name, source = settings["model"].pop("factory"), settings["data"].pop("source")
    except (KeyError, TypeError, ValueError):
        raise UserError(unfit) from None
    for extra in ("extractor", "seeds"):
        settings["evaluation"].pop(extra, None)
    factory = registry.factory(name)
    try:
        config = build(factory.Config, settings["model"], registry.label(name))
        model = factory(config, shape, generator=seeded(seed, "weights"), device=device).model
        model.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{arguments.source} does not fit the model {name!r} of this version ({reason})") from None
    evaluator = _evaluator(arguments, overrides, settings, arguments.dataset or source)
    if tuple(evaluator.data.image_shape) != shape:
        raise UserError(_mismatch(f"the model {arguments.source} makes", shape, evaluator.data))
    result = evaluator.evaluate(model, seeds)
    described = {
        "model": about["model"],
        "training_seed": seed,
        "parameters": count_parameters(model.sampler),
        "throughput": result.throughput,
        "curves": result.curves,
    }
    return _scores(arguments, evaluator, seeds, result.metrics, result.references) | described, result.pictures


def _folder(
    arguments: argparse.Namespace, overrides: Sections, seeds: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The scores of images that lie in a folder."""
    from bench.data import DataConfig
    from bench.data.folder import SOURCE

    if arguments.dataset is None:
        raise UserError(f"{arguments.source} is a folder of images: say with --dataset what they are held against")
    side = build(DataConfig, overrides.get("data", {}), "data").image_size
    pool = SOURCE.open(arguments.source, side, not arguments.quiet)
    wanted = overrides.get("evaluation", {}).get("samples", len(pool))
    if not isinstance(wanted, int) or wanted > len(pool):
        raise UserError(
            f"{arguments.source} holds {len(pool)} images: evaluation.samples={wanted!r} must be at most that"
        )
    images, notes = pool.read(range(wanted))
    evaluator = _evaluator(arguments, overrides | {"evaluation": overrides.get("evaluation", {}) | {"samples": wanted}})
    images, notes = _as_grey(images, notes, evaluator.data)
    if images.shape[1:] != evaluator.data.train.shape[1:]:
        raise UserError(_mismatch(f"the images of {arguments.source} are", images.shape[1:], evaluator.data))
    metrics, references, pictures = evaluator.evaluate_images(images, seeds)
    return _scores(arguments, evaluator, seeds, metrics, references) | {"notes": list(notes)}, pictures


def _as_grey(images: Any, notes: tuple[str, ...], data: Any) -> tuple[Any, tuple[str, ...]]:
    """One channel of (N, 3, H, W) where all three are equal and the data set is grey: torchvision saves grey as RGB."""
    grey = images.shape[1] == 3 and data.image_shape[0] == 1 and bool((images == images[:, :1]).all())
    note = f"{len(images):,} of {len(images):,} images had three equal channels, of which one was taken"
    return (images[:, :1].contiguous(), (*notes, note)) if grey else (images, notes)


def _evaluator(
    arguments: argparse.Namespace,
    overrides: Sections,
    settings: Sections | None = None,
    source: str | None = None,
) -> Any:
    """The evaluator of the data set that was asked for; `settings` are a checkpoint's own."""
    from bench import data, features
    from bench.data import DataConfig
    from bench.evaluation import EvaluationConfig, Evaluator
    from bench.features.cache import cache_folder
    from bench.machine import runtime

    kinds = {"data": DataConfig, "evaluation": EvaluationConfig}
    values = {section: (settings or {}).get(section, {}) | overrides.get(section, {}) for section in kinds}
    data_config = build(DataConfig, values["data"], "data")
    config = build(EvaluationConfig, values["evaluation"], "evaluation")
    root = data_root(arguments)
    device = runtime.resolve_device(arguments.device)
    extractor = features.resolve(arguments.features, device=device, inception_weights=arguments.inception_weights)
    images = data.load(
        source or arguments.dataset,
        root,
        data_config,
        spare=max(0, config.samples - data_config.held_out),
        progress=not arguments.quiet,
    )
    cache = None if arguments.no_cache else cache_folder()
    return Evaluator(images, extractor, config, cache=cache, data_root=root, progress=not arguments.quiet)


def _scores(
    arguments: argparse.Namespace,
    evaluator: Any,
    seeds: tuple[int, ...],
    metrics: list[dict[str, Any]],
    references: dict[str, Any],
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "source": str(arguments.source),
        "dataset": evaluator.data.name,
        "data": evaluator.data.describe(),
        "evaluation": {"extractor": evaluator.extractor.label, **asdict(evaluator.config)},
        "evaluation_seeds": list(seeds),
        "metrics": metrics,
        "references": references,
    }


def table(scores: dict[str, Any]) -> str:
    """The scores as Markdown: a row each, with interval, floor and ceiling."""
    titles = [reference["title"] for reference in scores["references"].values()]
    by_name = [{one["name"]: one for one in reference["metrics"]} for reference in scores["references"].values()]
    head = ["score", "value", "95 % interval", *titles]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for one in scores["metrics"]:
        arrow = {"lower": " ↓", "higher": " ↑"}.get(one["better"], "")
        interval = "–" if one["interval"] is None else f"[{one['interval'][0]:.4g}, {one['interval'][1]:.4g}]"
        others = [f"{known[one['name']]['value']:.4g}" if one["name"] in known else "–" for known in by_name]
        lines.append(f"| {' | '.join([one['label'] + arrow, format(one['value'], '.4g'), interval, *others])} |")
    counts = next(one for one in scores["metrics"] if one["group"] == "samples")
    images = (
        f"{counts['n_generated']:,} images of {scores['source']} against {counts['n_real']:,} of {scores['dataset']}"
    )
    return "\n".join([*lines, "", f"{images}; features: {scores['evaluation']['extractor']}."])


def _mismatch(what: str, shape: Sequence[int], data: Any) -> str:
    return (
        f"{what} {' x '.join(map(str, shape))} (channels, height, width), those of {data.name} "
        f"{' x '.join(map(str, data.image_shape))}: choose the --dataset and --image-size that they were made for"
    )


def _refuse_overwriting(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose a folder")
    if out.exists() and any(out.iterdir()) and not force:
        raise UserError(f"--out {out} holds files already: choose another folder, or give --force to write over them")


def _write(out: Path, scores: dict[str, Any], pictures: dict[str, Any]) -> None:
    from bench.grid.cell import describe, png
    from bench.storage.files import write_bytes, write_json

    try:
        for name, picture in pictures.items():
            write_bytes(out / f"{name}.png", png(picture))
        images = {name: describe(name, picture) for name, picture in pictures.items()}
        write_json(out / SCORES, scores | {"images": images})
    except OSError as error:
        raise UserError(f"--out {out} cannot be written ({error.strerror or error}): choose another folder") from None


def main(argv: Sequence[str] | None = None) -> int:
    def action() -> int:
        arguments = parser().parse_args(argv)
        try:
            return run(arguments)
        except DivergedError as error:
            print(f"bench.evaluate: {arguments.source} diverged ({error}): it has no scores", file=sys.stderr)
            return 1

    return outcome("bench.evaluate", action)


if __name__ == "__main__":
    sys.exit(main())
