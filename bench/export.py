"""`python -m bench.export RUN_OR_CELL --out DIR`: folders that the Hugging Face hub takes (docs/sharing.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config.commandline import outcome
from bench.config.console import say
from bench.errors import UserError


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.export",
        description="Write the model of a cell, or those of all finished cells of a results folder, as folders that "
        "the Hugging Face hub takes and bench.zoo.load reads (docs/sharing.md).",
    )
    p.add_argument("source", type=Path, metavar="RUN_OR_CELL", help="a results folder, or the folder of a cell in it")
    p.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where to; the models of a results folder get folders in it",
    )
    p.add_argument("--licence", default="mit", metavar="ID", help="of the weights, as the hub names it (default: mit)")
    p.add_argument("--force", action="store_true", help="write into folders that hold files")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Write every folder, or none where one cannot be written."""
    if not arguments.licence.isprintable() or not arguments.licence.strip():
        raise UserError(f"--licence {arguments.licence!r} is no name: give one as the hub lists them, such as mit")

    from bench.sharing import folder

    found = folder.cells(arguments.source)
    single = len(found) == 1 and found[0] in (arguments.source, arguments.source.parent)
    records = [folder.record_of(cell) for cell in found]
    outs = [arguments.out if single else arguments.out / folder.name_of(record) for record in records]
    for out in outs:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is a file: choose a folder")
        if out.exists() and any(out.iterdir()) and not arguments.force:
            raise UserError(f"--out {out} holds files already: choose another folder, or give --force")
    for cell, record, out in zip(found, records, outs, strict=True):
        folder.export(cell, record, out, arguments.licence)
        say(str(out))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return outcome("bench.export", lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
