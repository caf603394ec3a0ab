"""Train, evaluate and compare generative models: `python -m bench.compare --datasets cifar10 celeba`.

Only the standard library and the tables of names are imported before the arguments are known to be good: the imports
inside functions here are those that bring torch or matplotlib.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import tracking
from bench.config.commandline import (
    add_common,
    add_engine,
    add_sampling,
    add_settings,
    check_engine,
    check_outside,
    check_sampling,
    check_seeds,
    check_threads,
    data_root,
    folders_of,
    outcome,
    overrides,
)
from bench.config.console import say
from bench.config.registry import MODELS, label
from bench.config.settings import load_profile, profile_names
from bench.contract import plugins
from bench.errors import UserError
from bench.machine import ranks
from bench.tracking import TRACKERS

if TYPE_CHECKING:
    from bench.grid.together import Leader

SECTIONS = ("data", "training", "evaluation")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Train, evaluate and compare generative models of images under one harness. "
        "Finished cells are not run again: the same command continues an interrupted run.",
    )
    p.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help="registered names, folder:PATH or package.module:SOURCE (default: the profile's)",
    )
    p.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"{', '.join(MODELS)}, or package.module:factory (default: the profile's)",
    )
    p.add_argument("--seeds", nargs="*", type=int, metavar="N", help="training seeds (default: the profile's)")
    p.add_argument(
        "--evaluation-seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="seeds of samples and metrics; scores are means over them (default: the profile's)",
    )
    p.add_argument("--profile", default="quick", help=f"{', '.join(profile_names())}, or a .toml file (default: quick)")
    add_settings(p, "ebm.steps=50")
    p.add_argument("--out", type=Path, help="results folder (default: results/PROFILE)")
    p.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"send logs, sample grids, settings and scores to {', '.join(TRACKERS)} too (docs/tracking.md)",
    )
    add_common(p, "the profile's")
    add_engine(p)
    add_sampling(p)
    p.add_argument(
        "--list", action="store_true", help="list data sets, models and profiles: what is there, what is missing"
    )
    return p


def listing(root: Path) -> str:
    """Data sets with their state, models and profiles, one a line."""
    from bench import data

    lines = [f"data sets (under {root})"]
    lines += [f"  {name:16} {state}" for name, state in data.listing(root)]
    models = [*MODELS.items(), *plugins.added("model", MODELS).items()]
    lines += ["models", *(f"  {name:16} {target}" for name, target in models)]
    lines += ["profiles", *(f"  {name:16} {load_profile(name).description}" for name in profile_names())]
    return "\n".join(lines)


def run(arguments: argparse.Namespace, argv: Sequence[str], leader: Leader | None = None) -> int:
    """Exit status: 0 when every cell finished, 1 when one diverged or ran out of memory.

    `leader` leads the other ranks, where torchrun has started several.
    """
    if arguments.list:
        print(listing(data_root(arguments)))
        return 0
    profile = load_profile(arguments.profile)
    seeds = profile.seeds if arguments.seeds is None else tuple(arguments.seeds)
    if not seeds:
        raise UserError("--seeds is empty: give at least one, for instance --seeds 0 1 2")
    evaluation_seeds = tuple(arguments.evaluation_seeds or profile.evaluation_seeds)
    check_seeds("--seeds", seeds)
    check_seeds("--evaluation-seeds", evaluation_seeds)
    check_threads(arguments.threads)
    check_engine(arguments)
    check_sampling(arguments)
    track = tracking.check(arguments.track)
    models = tuple(arguments.models or profile.models)
    changed = overrides(arguments, [*SECTIONS, *(label(model) for model in (*MODELS, *models))])
    out = arguments.out or Path("results") / profile.name
    datasets = tuple(arguments.datasets or profile.datasets)
    check_outside(out, *folders_of(datasets))

    from bench import report
    from bench.engines.choice import engine_of
    from bench.grid import grid
    from bench.scoring.setup import Setup

    engine = engine_of(arguments, leader)
    request = grid.Request(
        setup=engine.setup(Setup.of(arguments, profile.features)),
        profile=profile,
        overrides=changed,
        datasets=datasets,
        models=models,
        seeds=seeds,
        evaluation_seeds=evaluation_seeds,
        out=out,
        command=shlex.join(["python", "-m", "bench.compare", *argv]),
        track=track,
    )
    evaluators: grid.Evaluators = {}
    cells = grid.prepare(request, evaluators, at_once=engine.at_once)
    statuses = engine.complete([(request, cells)], evaluators)
    report.build(out)
    say((out / "table.md").read_text(encoding="utf-8"))
    say(f"tables, plots and records: {out}")
    return 0 if all(status == "finished" for status in statuses) else 1


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv

    def program(leader: Leader | None = None) -> int:
        return run(parser().parse_args(argv), argv, leader)

    if ranks.count() == 1:
        return outcome("bench.compare", program)
    from bench.grid.together import over_ranks

    return outcome("bench.compare", lambda: over_ranks(program), over_ranks=True)


if __name__ == "__main__":
    sys.exit(main())
