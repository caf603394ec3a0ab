"""Run and rebuild the paper's tables and figures: `python -m bench.paper --scale quick`.

Only the standard library and the scales are loaded before the arguments have been checked: imports that need torch or
matplotlib are inside functions.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config.commandline import (
    add_common,
    add_engine,
    add_sampling,
    check_engine,
    check_sampling,
    check_threads,
    outcome,
)
from bench.config.console import say
from bench.errors import UserError
from bench.paper import plan as plans
from bench.results.locks import reporting


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.paper",
        description="Regenerate the tables and figures of the short-run MCMC paper (arXiv 1904.09770) at a chosen "
        "scale, reported and measured numbers side by side. Finished cells are not run again.",
    )
    p.add_argument(
        "--scale", default="quick", help=f"{', '.join(plans.scale_names())}, or a .toml file (default: quick)"
    )
    p.add_argument("--out", type=Path, help="results folder (default: results/paper-SCALE)")
    p.add_argument(
        "--only",
        nargs="+",
        choices=plans.PARTS,
        default=[],
        metavar="PART",
        help=f"run only the cells of these: {', '.join(plans.PARTS)}; every table is written, with what is missing",
    )
    p.add_argument(
        "--reuse",
        nargs="*",
        type=Path,
        metavar="RESULTS",
        help="copy finished cells with the same settings, images and machine from these results folders "
        "(default: results/PROFILE if it exists)",
    )
    p.add_argument("--rebuild", action="store_true", help="run nothing: rebuild everything from the records")
    add_common(p, "the profile's")
    add_engine(p)
    add_sampling(p)
    return p


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """The exit status: 0 if every requested cell finished, 1 if one diverged or ran out of memory."""
    check_threads(arguments.threads)
    check_engine(arguments)
    check_sampling(arguments)
    plan = plans.load(arguments.scale)
    out = arguments.out or Path("results") / f"paper-{plan.scale}"
    statuses: list[str] = []
    if arguments.rebuild:
        if not out.is_dir():
            raise UserError(f"no results folder {out}: check --out, or run without --rebuild")
        plan = plans.stored(out) or plan
    else:
        from bench.paper import run as cells

        statuses = cells.run(arguments, plan, out, shlex.join(["python", "-m", "bench.paper", *argv]))
    from bench.paper import build

    with reporting(out):
        written = build.build(out, plan)
    say((out / build.INDEX).read_text(encoding="utf-8"))
    say(f"{len(written)} files; the page: {out / 'index.html'}")
    return 0 if all(status == "finished" for status in statuses) else 1


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return outcome("bench.paper", lambda: run(parser().parse_args(argv), argv))


if __name__ == "__main__":
    sys.exit(main())
