"""The programs' output on a terminal, into a pipe or a file: what cannot be encoded, and a reader that has gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

PIPE_CLOSED = 141  # 128 + SIGPIPE, as a shell reports a tool that a closed pipe ended


def shown(action: Callable[[], int]) -> int:
    """The exit status of `action`, whose prints cannot fail for want of a letter or of a reader.

    A character that standard output cannot encode is printed as "?". Once the reader of a pipe has gone, the program
    ends without a word, with status 141.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # a notebook's stream has none, and takes every letter
    if reconfigure is not None:
        reconfigure(errors="replace")
    try:
        try:
            return action()
        finally:  # --help as well, which ends by SystemExit
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED


def say(text: str) -> None:
    """Print what lies in files too: a reader that has gone loses nothing, so the program's status stays its own."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    """Point standard output at the null device, or the interpreter's own flush at exit would complain."""
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())
