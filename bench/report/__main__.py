"""`python -m bench.report RESULTS`: rebuild tables, plots and page of a results folder from its records alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.config.commandline import outcome
from bench.config.console import say


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Rebuild tables (table.*, cells.csv), plots/ and index.html of a results folder from records.",
    )
    p.add_argument("results", metavar="RESULTS", type=Path, help="a folder that python -m bench.compare wrote")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line on standard error."""
    return outcome("bench.report", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    for path in report.build(parser().parse_args(arguments).results):
        say(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
