"""Search a model's settings: `python -m bench.tune --model NAME --dataset NAME`.

Every trial trains for the same number of seconds and is scored on validation images that no reported score uses. Only
the standard library is imported before the arguments are known to be good: the imports inside a function are those
that bring torch.
"""

from __future__ import annotations

import argparse
import math
import shlex
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
from bench.config.registry import MODELS, label
from bench.config.settings import load_profile, profile_names
from bench.errors import UserError

SECTIONS = ("data", "training", "evaluation")
IMAGES = 500  # samples of a trial, and validation images, where neither the profile's [data] nor --set says otherwise


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.tune",
        description="Search the settings of one model on one data set, a budget of training seconds a trial "
        "(docs/tuning.md). Finished trials are not run again: the same command continues a search.",
    )
    p.add_argument("--model", required=True, metavar="NAME", help=f"{', '.join(MODELS)}, or package.module:factory")
    p.add_argument("--dataset", metavar="NAME", help="as in bench.compare (default: the profile's first)")
    p.add_argument("--profile", default="quick", help=f"{', '.join(profile_names())}, or a .toml file (default: quick)")
    p.add_argument("--trials", type=int, default=20, metavar="N", help="trials in all (default: 20)")
    p.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of training, a trial (default: 60)")
    p.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0],
        metavar="N",
        help="training seeds from 0 to 99, which the trials take in turn (default: 0)",
    )
    p.add_argument("--sampler", default="tpe", help="tpe or random (default: tpe)")
    p.add_argument("--sampler-seed", type=int, default=0, metavar="N", help="default: 0")
    add_settings(p, "evaluation.samples=1000 data.validation=1000, each 500 unless set here")
    p.add_argument("--out", type=Path, help="folder of the search (default: results/tuning/PROFILE/DATASET/MODEL)")
    add_common(p, "the profile's")
    return p


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Exit status: 0 when a trial finished, 1 when none did."""
    profile = load_profile(arguments.profile)
    seeds = tuple(arguments.seeds)
    check_seeds("--seeds", seeds)
    check_seeds("--sampler-seed", [arguments.sampler_seed])
    check_threads(arguments.threads)
    if arguments.trials < 1:
        raise UserError(f"--trials {arguments.trials} is too few: give at least 1")
    if not (math.isfinite(arguments.seconds) and arguments.seconds > 0):
        raise UserError(f"--seconds {arguments.seconds} is no time to train: give more than 0")
    model, dataset = arguments.model, arguments.dataset or profile.datasets[0]
    changed = overrides(arguments, [*SECTIONS, *dict.fromkeys([*MODELS, label(model)])])

    from bench import data
    from bench.grid.request import Request
    from bench.results.layout import folder_name
    from bench.scoring.setup import Setup
    from bench.tuning import search, table
    from bench.tuning.study import SAMPLERS

    if arguments.sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {arguments.sampler!r}: choose one of {', '.join(SAMPLERS)}")
    known = data.label(dataset)
    changed.setdefault("evaluation", {}).setdefault("samples", IMAGES)
    if "validation" not in profile.settings(known, "data"):
        changed.setdefault("data", {}).setdefault("validation", IMAGES)
    place = (profile.name, folder_name(known), folder_name(label(model)))
    out = arguments.out or Path("results", "tuning", *place)
    check_outside(out, *folders_of([dataset]))
    request = Request(
        setup=Setup.of(arguments, profile.features),
        profile=profile,
        overrides=changed,
        datasets=(dataset,),
        models=(model,),
        seeds=seeds,
        evaluation_seeds=(0,),
        out=out,
        command=shlex.join(["python", "-m", "bench.tune", *argv]),
    )
    budget = search.Budget(arguments.trials, arguments.seconds, arguments.sampler, arguments.sampler_seed)
    found = search.run(request, budget)
    winner = table.best(found.outcomes)
    lost = sum(one.score is None for one in found.outcomes)
    failed = f", {lost} of which did not finish" if lost else ""
    say(f"{len(found.outcomes)} trials{failed}: {out / table.FILE}")
    if winner is None:
        say("no trial finished: there is no best one")
        return 1
    best = found.outcomes[winner]
    say(f"best: trial {winner}, {found.metric} {best.score:.4g} against {found.validation} validation images")
    say(table.options(label(model), best, found.validation))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return outcome("bench.tune", lambda: run(parser().parse_args(argv), argv))


if __name__ == "__main__":
    sys.exit(main())
