"""`python -m bench.report RESULTS`: rebuild tables, plots and page of a results folder from its records alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.config.console import say, shown
from bench.errors import UserError


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Rebuild tables (table.*, cells.csv), plots/ and index.html of a results folder from records.",
    )
    p.add_argument("results", metavar="RESULTS", type=Path, help="a folder that python -m bench.compare wrote")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 after one line on standard error."""
    return shown(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    root = parser().parse_args(arguments).results
    try:
        written = report.build(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        print(f"error: cannot write the report{place}: {error.strerror or error}; check the folder", file=sys.stderr)
        return 2
    for path in written:
        say(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
