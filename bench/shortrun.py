"""`shortrun COMMAND ...`: every program of the suite under one name, each the same as `python -m bench.COMMAND`.

A command's module is imported when it is asked for, so that the list of commands is there at once. Where argcomplete is
installed, a shell completes commands and options.
"""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

DISTRIBUTION = "short-run-ebm-benchmark"
COMMANDS = {  # name -> module with `main(argv)` and `parser()`, what it does
    "compare": ("bench.compare", "train, evaluate and compare models on data sets"),
    "evaluate": ("bench.evaluate", "score a trained model, images made elsewhere or a generator"),
    "report": ("bench.report.__main__", "rebuild tables, plots and page of a results folder"),
    "paper": ("bench.paper.__main__", "regenerate the paper's tables and figures"),
    "status": ("bench.status", "where each cell of a results folder is"),
    "tune": ("bench.tune", "search a model's settings"),
    "race": ("bench.race", "score against training time"),
    "leaderboard": ("bench.leaderboard", "several results folders on one page for each protocol"),
    "export": ("bench.export", "models as folders that the Hugging Face hub takes"),
    "zoo": ("bench.zoo", "list the trained models that come with a clone"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of the command that is asked for; 2 after one line for a name that is none."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    if arguments and arguments[0] in COMMANDS:
        return importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        print(f"shortrun: unknown command {arguments[0]!r}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    parser().parse_args(arguments)
    parser().print_help()
    return 0


def parser() -> argparse.ArgumentParser:
    """The list of commands; a command's own options are its module's."""
    p = argparse.ArgumentParser(
        prog="shortrun",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="shortrun COMMAND ...",
        description="A benchmark of short-run energy-based models, VAEs, GANs and flow matching.",
        epilog="\n".join(
            [
                "commands:",
                *(f"  {name:12} {what}" for name, (_, what) in COMMANDS.items()),
                "",
                "shortrun COMMAND --help tells the options of a command.",
                f"To complete them in a shell: pip install {DISTRIBUTION}[completion], then",
                '  eval "$(register-python-argcomplete shortrun)"',
            ]
        ),
    )
    p.add_argument("--version", action="version", version=f"shortrun {_version()}")
    return p


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _complete() -> None:
    """Answer a shell that asks for completions, and end: of a command's options where one stands in the line."""
    import argcomplete

    words = argcomplete.split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    start = int(os.environ["_ARGCOMPLETE"])  # words before the program's arguments
    if len(words) > start and words[start] in COMMANDS:
        os.environ["_ARGCOMPLETE"] = str(start + 1)
        argcomplete.autocomplete(importlib.import_module(COMMANDS[words[start]][0]).parser())
    chosen = parser()
    chosen.add_argument("command", choices=list(COMMANDS))
    argcomplete.autocomplete(chosen)


if __name__ == "__main__":
    sys.exit(main())
