"""What the programs that run models share: options, checks of their values, and how they end."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.config.console import shown
from bench.config.settings import LARGEST_NUMBER, Sections, parse_overrides
from bench.errors import UserError, one_line
from bench.machine import ranks, signals

DATA_ROOT = "BENCH_DATA_ROOT"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)  # what a disk may say to a writer


def add_common(p: argparse.ArgumentParser, features: str) -> None:
    """Options of every program that runs a model; `features` is the default's name."""
    p.add_argument("--data-root", type=Path, help=f"where data sets lie (default: ${DATA_ROOT}, else data)")
    p.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads, at most the machine's cores (default: all)")
    p.add_argument(
        "--features",
        help="auto, inception, efficientnet-lite0, dinov2-vit-{s,b,l,g}-14 or clip-..., also as NAME/LAYER or "
        f"NAME@SIDE, or package.module:Class; docs/extractors.md lists them (default: {features})",
    )
    p.add_argument("--extractor-weights", type=Path, metavar="FILE", help="local weights of the named extractor")
    p.add_argument("--no-cache", action="store_true", help="compute the features of real images anew, and keep nothing")
    p.add_argument("--quiet", action="store_true", help="no progress bars")


def add_engine(p: argparse.ArgumentParser) -> None:
    """Options of programs that run a grid: how many cells at once, and where."""
    p.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="cells side by side on this machine, which share --threads and the GPUs (default: 1; docs/scale.md)",
    )
    p.add_argument("--engine", choices=("local", "ray"), default="local", help="where cells run (default: local)")
    p.add_argument("--address", metavar="A", help="ray: a cluster, as HOST:PORT or auto (default: one started here)")
    p.add_argument("--cpus-per-cell", type=int, metavar="N", help="ray: CPUs, and threads, of a cell (default: 1)")
    p.add_argument(
        "--gpus-per-cell", type=float, metavar="F", help="ray: GPUs of a cell, 0.5 for two cells on one (default: 0)"
    )


def add_sampling(p: argparse.ArgumentParser) -> None:
    """The option of programs that score the samples of a model."""
    p.add_argument(
        "--sampling-workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that draw the samples which are scored, each with a cell's threads; no score depends on N "
        "(default: 1; docs/scale.md)",
    )


def add_settings(p: argparse.ArgumentParser, example: str) -> None:
    """Options that override settings."""
    p.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="SECTION.NAME=VALUE",
        help=f"override settings: {example}",
    )
    p.add_argument(
        "--image-size", type=int, metavar="S", help="side that images are resized to; short for data.image_size"
    )


def data_root(arguments: argparse.Namespace) -> Path:
    """Where data sets lie."""
    return arguments.data_root or Path(os.environ.get(DATA_ROOT) or "data")


def overrides(arguments: argparse.Namespace, sections: Iterable[str]) -> Sections:
    """The settings of --set and --image-size, by section; UserError for a text or a section that is not good."""
    found = parse_overrides(arguments.set, sections)
    if arguments.image_size is not None:
        found.setdefault("data", {})["image_size"] = arguments.image_size
    return found


def check_seeds(option: str, seeds: Sequence[int]) -> None:
    """UserError for seeds that are negative, given twice or above 2^63 - 1, which no record and no library holds."""
    given = f"{option} {one_line(' '.join(map(str, seeds)))}"
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"{given}: give each seed once, none negative")
    if max(seeds) > LARGEST_NUMBER:
        raise UserError(f"{given}: a seed is too large: give at most {LARGEST_NUMBER}")


def check_outside(out: Path, *folders: Path) -> None:
    """UserError where `out` is one of these folders of images or lies in it: they would gain the pictures written."""
    place = out.expanduser().resolve()
    for folder in folders:
        if place.is_relative_to(folder.expanduser().resolve()):
            raise UserError(f"--out {out} lies in {folder}, whose images are read: choose a folder outside it")


def folders_of(datasets: Sequence[str]) -> list[Path]:
    """The PATHs of the data sets that are folder:PATH."""
    return [Path(name.partition(":")[2]) for name in datasets if name.startswith("folder:")]


def check_threads(threads: int | None) -> None:
    """UserError for fewer threads than one, or more than the machine has cores; None is all cores."""
    cores = os.cpu_count() or 1
    if threads is not None and threads < 1:
        raise UserError(f"--threads {threads} is too few: give at least 1")
    if threads is not None and threads > cores:
        raise UserError(f"--threads {one_line(threads)} is more than this machine can use: give at most {cores}")


def check_engine(arguments: argparse.Namespace) -> None:
    """UserError for options of `add_engine` that do not go together, or ask for too few or too many."""
    jobs = arguments.jobs
    if ranks.count() > 1 and (jobs != 1 or arguments.engine != "local"):
        given = f"--jobs {one_line(jobs)}" if jobs != 1 else f"--engine {arguments.engine}"
        raise UserError(f"{given} does not go with torchrun, whose ranks train one cell together: leave one out")
    cluster = {name: getattr(arguments, name) for name in ("address", "cpus_per_cell", "gpus_per_cell")}
    if arguments.engine == "local":
        for name, value in cluster.items():
            if value is not None:
                raise UserError(f"--{name.replace('_', '-')} {one_line(value)} goes with --engine ray: add it")
    else:
        for name, given in (("--jobs", jobs != 1), ("--threads", arguments.threads is not None)):
            if given:
                raise UserError(f"{name} does not go with --engine ray: give --cpus-per-cell, and leave it out")
        if getattr(arguments, "track", None):
            raise UserError("--track does not go with --engine ray, whose nodes keep nothing: leave one of them out")
        cpus, gpus = cluster["cpus_per_cell"], cluster["gpus_per_cell"]
        if cpus is not None and cpus < 1:
            raise UserError(f"--cpus-per-cell {one_line(cpus)} is too few: give at least 1")
        if gpus is not None and not (0 <= gpus < 1 or (gpus >= 1 and gpus % 1 == 0)):
            raise UserError(
                f"--gpus-per-cell {one_line(gpus)}: give 0, a part of one GPU such as 0.5, or a whole number"
            )
    check_jobs(arguments.jobs)


def check_jobs(jobs: int) -> None:
    """UserError for fewer than one or more than there are cores."""
    cores = os.cpu_count() or 1
    if jobs < 1:
        raise UserError(f"--jobs {one_line(jobs)} is too few: give at least 1")
    if jobs > cores:
        raise UserError(f"--jobs {one_line(jobs)} is more than this machine has cores: give at most {cores}")


def check_sampling(arguments: argparse.Namespace) -> None:
    """UserError for too few sampling workers, or more than this machine has cores for; a cluster counts for itself."""
    workers, jobs = arguments.sampling_workers, getattr(arguments, "jobs", 1)
    cores = os.cpu_count() or 1
    given = f"--sampling-workers {one_line(workers)}"
    if workers < 1:
        raise UserError(f"{given} is too few: give at least 1")
    if workers == 1 or getattr(arguments, "engine", "local") != "local":
        return
    if workers * jobs > cores:
        more = f" for each of {jobs} jobs" if jobs > 1 else ""
        raise UserError(f"{given}{more} is more than this machine has cores: give at most {max(1, cores // jobs)}")
    usual = os.environ.get("OMP_NUM_THREADS", "")
    threads = arguments.threads or (int(usual) if usual.isascii() and usual.isdecimal() else cores)
    each = max(1, threads // jobs)
    if workers * jobs * each > cores:
        more = f" for each of {jobs} jobs" if jobs > 1 else ""
        raise UserError(
            f"{given}{more}, of {each} threads each, have more threads than this machine's {cores} cores: "
            f"give --threads {cores // (workers * jobs) * jobs}"
        )


def failure(error: BaseException) -> str | None:
    """The line for a user's mistake or a disk that takes no more; None for any other error."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, OSError) or error.errno not in DISK:
        return None
    place = f" {error.filename}" if error.filename else ""
    return (
        f"cannot write{place}: {error.strerror}; free some space or change the permissions: the same command "
        "continues where it stopped"
    )


def outcome(program: str, action: Callable[[], int], *, over_ranks: bool = False) -> int:
    """The exit status of what a program does: its own, 2 after one line for a user's mistake or a disk that takes no
    more, 130 after SIGINT, 143 after SIGTERM, and 141 where the reader of its output has gone.

    What torchrun has started several times is refused, unless it can run `over_ranks`.
    """
    try:
        with signals.handled():
            if ranks.count() > 1 and not over_ranks:
                if ranks.rank():
                    return 2  # one line is enough
                raise UserError("torchrun is for bench.compare alone: start this program without it")
            return shown(action)
    except (UserError, OSError) as error:
        line = failure(error)
        if line is None:
            raise
        print(f"{program}: {line}", file=sys.stderr)
        return 2
    except signals.Interrupted as error:
        print(f"{program}: {error}; the same command continues where it stopped", file=sys.stderr)
        return error.status
