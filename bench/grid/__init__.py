"""The grid of cells: plan it, train and evaluate each cell, write what came out."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, file=sys.stderr, flush=True)
