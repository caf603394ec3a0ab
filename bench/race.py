"""Race models: score against training seconds, `python -m bench.race --dataset NAME --models A B C`.

Contestants take turns on one machine and only their training is timed. Only the standard library is imported before
the arguments are known to be good: the imports inside a function are those that bring torch or matplotlib.
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
    check_jobs,
    check_outside,
    check_seeds,
    check_threads,
    folders_of,
    outcome,
    overrides,
)
from bench.config.console import say
from bench.config.registry import MODELS, label
from bench.config.settings import build, load_profile, profile_names
from bench.errors import UserError

SECTIONS = ("data", "training", "evaluation")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.race",
        description="Score against training seconds (docs/race.md). Contestants take turns; sampling and scoring are "
        "not counted. The same command continues a race that was stopped.",
    )
    p.add_argument("--dataset", metavar="NAME", help="as in bench.compare (default: the profile's first)")
    p.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"contestants: {', '.join(MODELS)}, or package.module:factory (default: the profile's and published)",
    )
    p.add_argument("--seeds", nargs="+", type=int, metavar="N", help="training seeds (default: the profile's)")
    p.add_argument("--profile", default="quick", help=f"{', '.join(profile_names())}, or a .toml file (default: quick)")
    p.add_argument(
        "--seconds", type=float, default=300.0, metavar="S", help="of each contestant and seed (default: 300)"
    )
    p.add_argument("--slice", type=float, default=10.0, metavar="S", help="seconds of one turn (default: 10)")
    p.add_argument("--points", type=int, default=12, metavar="N", help="scores of a curve (default: 12)")
    p.add_argument(
        "--reach", nargs="+", type=float, default=[], metavar="SCORE", help="scores of the table (default: round ones)"
    )
    p.add_argument("--base", default="", metavar="NAME", help="whose times the table divides by (default: the first)")
    add_settings(p, "evaluation.samples=1000 evaluation.real=5000 ebm.steps=20")
    p.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes that share the contestants of a seed (default: 1)"
    )
    p.add_argument("--out", type=Path, help="folder of the race (default: results/race/PROFILE/DATASET)")
    add_common(p, "the profile's")
    p.set_defaults(threads=1)
    return p


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Exit status: 0 when every contestant finished with every seed, 1 when one diverged or ran out of memory."""
    profile = load_profile(arguments.profile)
    seeds = tuple(arguments.seeds or profile.seeds)
    check_seeds("--seeds", seeds)
    check_threads(arguments.threads)
    check_jobs(arguments.jobs)
    if wrong := [score for score in arguments.reach if not math.isfinite(score)]:
        raise UserError(f"--reach {wrong[0]} is no score: give numbers")
    models = tuple(arguments.models or dict.fromkeys([*profile.models, "published"]))
    dataset = arguments.dataset or profile.datasets[0]
    changed = overrides(arguments, [*SECTIONS, *dict.fromkeys(label(model) for model in (*MODELS, *models))])

    from bench import data
    from bench.grid.request import Request
    from bench.racing import race
    from bench.racing.output import TABLE
    from bench.racing.turns import Rules
    from bench.results.layout import folder_name
    from bench.scoring.setup import Setup

    rules = build(Rules, {name: getattr(arguments, name) for name in ("seconds", "slice", "points")}, "race")
    out = arguments.out or Path("results", "race", profile.name, folder_name(data.label(dataset)))
    check_outside(out, *folders_of([dataset]))
    request = Request(
        setup=Setup.of(arguments, profile.features),
        profile=profile,
        overrides=changed,
        datasets=(dataset,),
        models=models,
        seeds=seeds,
        evaluation_seeds=profile.evaluation_seeds[:1],
        out=out,
        command=shlex.join(["python", "-m", "bench.race", *argv]),
    )
    found = race.run(request, rules, reach=arguments.reach, base=arguments.base, jobs=arguments.jobs)
    say((out / TABLE).read_text(encoding="utf-8"))
    say(f"curves, plot and table: {out}")
    return 0 if all(lane.status == "finished" for lane in found.lanes) else 1


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return outcome("bench.race", lambda: run(parser().parse_args(argv), argv))


if __name__ == "__main__":
    sys.exit(main())
