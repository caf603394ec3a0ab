"""Train, evaluate and compare generative models: `python -m bench.compare --datasets cifar10 celeba`.

Only the standard library and the tables of names are imported before the arguments are known to be good.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.registry import MODELS
from bench.settings import load_profile, parse_overrides, profile_names

DATA_ROOT = "BENCH_DATA_ROOT"
SECTIONS = ("data", "training", "evaluation")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Train, evaluate and compare generative models of images under one harness. "
        "Finished cells are not run again: the same command continues an interrupted run.",
    )
    p.add_argument(
        "--datasets", nargs="+", metavar="NAME", help="registered names or folder:PATH (default: the profile's)"
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
    p.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help="override settings: ebm.steps=50",
    )
    p.add_argument(
        "--image-size", type=int, metavar="S", help="side that images are resized to; short for data.image_size"
    )
    p.add_argument("--out", type=Path, help="results folder (default: results/PROFILE)")
    p.add_argument("--data-root", type=Path, help=f"where data sets lie (default: ${DATA_ROOT}, else data)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    p.add_argument(
        "--features",
        help="auto, inception or efficientnet-lite0, these two also as NAME/LAYER or NAME@SIDE, "
        "or package.module:Class (default: the profile's)",
    )
    p.add_argument("--inception-weights", type=Path, metavar="FILE", help="local weights of the Inception extractor")
    p.add_argument("--no-cache", action="store_true", help="compute the features of real images anew, and keep nothing")
    p.add_argument("--quiet", action="store_true", help="no progress bars")
    p.add_argument(
        "--list", action="store_true", help="list data sets, models and profiles: what is there, what is missing"
    )
    return p


def listing(data_root: Path) -> str:
    """Data sets with their state, models and profiles, one a line."""
    from bench import data

    lines = [f"data sets (under {data_root})"]
    lines += [f"  {name:16} {state}" for name, state in data.listing(data_root)]
    lines += ["models", *(f"  {name:16} {target}" for name, target in MODELS.items())]
    lines += ["profiles", *(f"  {name:16} {load_profile(name).description}" for name in profile_names())]
    return "\n".join(lines)


def check_seeds(option: str, seeds: Sequence[int]) -> None:
    """UserError for seeds that are negative or given twice."""
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"{option} {' '.join(map(str, seeds))}: give each seed once, none negative")


def check_threads(threads: int | None) -> None:
    """UserError for fewer threads than one; None is all cores."""
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads} is too few: give at least 1")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Exit status: 0 when every cell finished, 1 when one diverged."""
    data_root = arguments.data_root or Path(os.environ.get(DATA_ROOT) or "data")
    if arguments.list:
        print(listing(data_root))
        return 0
    profile = load_profile(arguments.profile)
    seeds = profile.seeds if arguments.seeds is None else tuple(arguments.seeds)
    if not seeds:
        raise UserError("--seeds is empty: give at least one, for instance --seeds 0 1 2")
    evaluation_seeds = tuple(arguments.evaluation_seeds or profile.evaluation_seeds)
    check_seeds("--seeds", seeds)
    check_seeds("--evaluation-seeds", evaluation_seeds)
    check_threads(arguments.threads)
    models = tuple(arguments.models or profile.models)
    from bench import grid, registry, report  # here, so that --help and bad arguments are answered at once
    from bench.features.cache import cache_folder

    overrides = parse_overrides(arguments.set, [*SECTIONS, *(registry.label(m) for m in (*MODELS, *models))])
    if arguments.image_size is not None:
        overrides.setdefault("data", {})["image_size"] = arguments.image_size
    out = arguments.out or Path("results") / profile.name
    statuses = grid.run(
        grid.Request(
            profile=profile,
            overrides=overrides,
            datasets=tuple(arguments.datasets or profile.datasets),
            models=models,
            seeds=seeds,
            evaluation_seeds=evaluation_seeds,
            features=arguments.features or profile.features,
            inception_weights=arguments.inception_weights,
            cache=None if arguments.no_cache else cache_folder(),
            out=out,
            data_root=data_root,
            device=arguments.device,
            threads=arguments.threads,
            command=shlex.join(["python", "-m", "bench.compare", *argv]),
            progress=not arguments.quiet,
        )
    )
    report.build(out)
    print((out / "table.md").read_text(encoding="utf-8"))
    print(f"tables, plots and records: {out}")
    return 0 if all(status == "finished" for status in statuses) else 1


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    try:
        return run(parser().parse_args(argv), argv)
    except UserError as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench.compare: interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
