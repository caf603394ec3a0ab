"""Score a model of the suite, or images made elsewhere: `python -m bench.evaluate CHECKPOINT|FOLDER --dataset NAME`.

The same images, features and metrics as in `bench.compare`. Of a folder only the samples can be scored. Only the
standard library is imported before the arguments are known to be good: the imports inside a function are those that
bring torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config.commandline import (
    add_common,
    add_settings,
    check_outside,
    check_seeds,
    check_threads,
    folders_of,
    outcome,
    overrides,
)
from bench.config.console import say
from bench.errors import DivergedError, UserError

SECTIONS = ("data", "evaluation")


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
    return p


def run(arguments: argparse.Namespace) -> int:
    """Write the scores where `--out` says, and print their table; UserError for what cannot be scored."""
    seeds = tuple(arguments.evaluation_seeds)
    check_seeds("--evaluation-seeds", seeds)
    check_threads(arguments.threads)
    changed = overrides(arguments, SECTIONS)
    if not arguments.source.exists():
        raise UserError(f"there is no {arguments.source}: give a model.safetensors of the suite or a folder of images")
    if arguments.out is not None:
        check_outside(arguments.out, arguments.source, *folders_of([arguments.dataset or ""]))
        _refuse_overwriting(arguments.out, arguments.force)

    from bench.scoring import subjects
    from bench.scoring.setup import Setup

    setup = Setup.of(arguments, "auto")
    scores = subjects.score(arguments.source, arguments.dataset, changed, seeds, setup)
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
