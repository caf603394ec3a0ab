"""Score a model of the suite, or images made elsewhere: `python -m bench.evaluate SOURCE --dataset NAME`.

The same images, features and metrics as in `bench.compare`. Of a folder, an array file or a generator only the samples
can be scored; with `--out RESULTS/elsewhere/NAME` they get a row in that folder's tables. Only the standard library is
imported before the arguments are known to be good: the imports inside a function are those that bring torch.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config.commandline import (
    add_common,
    add_sampling,
    add_settings,
    check_outside,
    check_sampling,
    check_seeds,
    check_threads,
    folders_of,
    outcome,
    overrides,
)
from bench.config.console import say
from bench.config.settings import Sections
from bench.contract import plugins
from bench.errors import DivergedError, UserError
from bench.results import shipped
from bench.results.cell_folder import RECORD, WEIGHTS, read_all
from bench.results.record import Record, read

SECTIONS = ("data", "evaluation")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.evaluate",
        description="Score a model of the suite, or images made elsewhere, against a data set (docs/sharing.md).",
    )
    p.add_argument(
        "source",
        metavar="SOURCE",
        help="a cell or its model.safetensors, a folder that bench.export wrote, a shipped model as DATASET/MODEL "
        "(python -m bench.zoo lists them), a folder of images, an .npz or .npy of uint8 images (n, height, width, "
        "channels), or module:callable, a torch module or a callable (n, generator) that makes images",
    )
    p.add_argument("--dataset", metavar="NAME", help="a data set or folder:PATH (default: the model's own)")
    p.add_argument(
        "--evaluation-seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="default: those of --like or of the model's record, else 0",
    )
    p.add_argument(
        "--like",
        type=Path,
        metavar="RESULTS",
        help="take settings, seeds and extractor of the cells in this results folder, so that scores can be compared",
    )
    p.add_argument("--label", default="", metavar="NAME", help="of images made elsewhere, in tables")
    p.add_argument("--training-seed", type=int, default=0, metavar="N", help="of their model, if it has several")
    add_settings(p, "as in bench.compare, of data and evaluation (default: the model's own)")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="where scores.json and pictures go (default: nowhere)")
    p.add_argument("--force", action="store_true", help="write into an --out that holds files, over scores there")
    p.add_argument("--trust-code", action="store_true", help="import an exported model's code that is its author's own")
    add_common(p, "those of --like or of the model's record, else auto")
    add_sampling(p)
    return p


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Write the scores where `--out` says, and print their table; UserError for what cannot be scored."""
    like = None if arguments.like is None else Like.of(arguments.like, arguments.dataset)
    place = shipped.place(arguments.source)
    own = None if like else _record_of(place)
    features = like.extractor if like else own and _features(own)
    seeds = tuple(arguments.evaluation_seeds or (like.seeds if like else own.data["evaluation_seeds"] if own else [0]))
    check_seeds("--evaluation-seeds", seeds)
    check_seeds("--training-seed", [arguments.training_seed])
    check_threads(arguments.threads)
    check_sampling(arguments)
    changed = overrides(arguments, SECTIONS)
    if like:
        changed = {name: like.settings[name] | changed.get(name, {}) for name in SECTIONS}
    if not place.exists() and not plugins.split(arguments.source):
        what = "a cell, an exported folder, images, module:callable"
        raise UserError(f"there is no {arguments.source}: give {what} or {shipped.choices()}")
    if arguments.out is not None:
        check_outside(arguments.out, place, *folders_of([arguments.dataset or ""]))
        _refuse_overwriting(arguments.out, arguments.force)

    from bench.scoring import subjects
    from bench.scoring.scores import About
    from bench.scoring.setup import Setup, choice_of

    if arguments.extractor_weights is not None and not like:
        features = None  # they say which network is meant
    setup = Setup.of(arguments, features if like else choice_of(features or "auto"))
    about = About(arguments.label, arguments.training_seed, shlex.join(["python", "-m", "bench.evaluate", *argv]))
    dataset = arguments.dataset or (like.dataset if like else None)
    if like and setup.extractor.label != like.label:
        raise UserError(f"{arguments.like} is scored with {like.label}, not {setup.extractor.label}: check --features")
    scores = subjects.score(arguments.source, dataset, changed, seeds, setup, about, trust_code=arguments.trust_code)
    if arguments.out is None:
        print(scores.table())
        return 0
    scores.write(arguments.out)
    say(scores.table())
    say(f"\nscores and pictures: {arguments.out}")
    return 0


def _refuse_overwriting(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose a folder")
    if out.exists() and any(out.iterdir()) and not force:
        raise UserError(f"--out {out} holds files already: choose another folder, or give --force to write over them")


def _record_of(place: Path) -> Record | None:
    """The record of a stored model, beside its weights; None where there is none that can be read."""
    folder = place if place.is_dir() else place.parent
    if not (folder / WEIGHTS).is_file() or place not in (folder, folder / WEIGHTS):
        return None
    try:
        return Record(folder / RECORD, read(folder / RECORD))
    except UserError:  # the weights say enough to be scored
        return None


def _features(record: Record) -> str | None:
    """The features of a record's scores, as --features takes them; None where it does not say."""
    score = next((one for one in record.metrics if one.get("extractor") and one.get("resize")), None)
    return score and f"{score['extractor']}@{score['resize']}"


@dataclass(frozen=True)
class Like:
    """What scores need to have in common with those of a results folder."""

    dataset: str  # as it was asked for there
    settings: Sections  # of data and evaluation
    seeds: tuple[int, ...]  # of the evaluation
    extractor: str  # as --features takes it
    label: str  # the extractor's

    @classmethod
    def of(cls, results: Path, dataset: str | None) -> Like:
        """From the first finished cell of `dataset`, None for the only one; UserError where there is none."""
        finished = [one for one in read_all(results) if one.finished]
        sources = dict.fromkeys(one.data["config"]["data"].get("source", one.dataset) for one in finished)
        if dataset is None and len(sources) == 1:
            (dataset,) = sources
        names = ", ".join(sources) or "no finished cell"
        if dataset is None:
            raise UserError(f"--like {results} has {names}: say which --dataset")
        cell = next((x for x in finished if dataset in (x.dataset, x.data["config"]["data"].get("source"))), None)
        if cell is None:
            raise UserError(f"--like {results} has no finished cell of {dataset}: it has {names}")
        config = cell.data["config"]
        features = _features(cell)
        if features is None:
            raise UserError(f"--like {results}: {cell.path} does not say which features it has: give another folder")
        return cls(
            dataset,
            {
                "data": {name: value for name, value in config["data"].items() if name != "source"},
                "evaluation": {k: v for k, v in config["evaluation"].items() if k not in ("extractor", "seeds")},
            },
            tuple(cell.data["evaluation_seeds"]),
            features,
            config["evaluation"].get("extractor", f"{features.replace('@', ', ')} px"),
        )


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv

    def action() -> int:
        arguments = parser().parse_args(argv)
        try:
            return run(arguments, argv)
        except DivergedError as error:
            print(f"bench.evaluate: {arguments.source} diverged ({error}): it has no scores", file=sys.stderr)
            return 1

    return outcome("bench.evaluate", action)


if __name__ == "__main__":
    sys.exit(main())
