"""Plots, drawn from records and pictures alone.

Import this package before matplotlib: matplotlib reads the user's MPLBACKEND when it is imported, and fails if it
names a backend that is not installed, such as a notebook's. The plots need no backend: style.save uses Agg.
"""

from __future__ import annotations

import contextlib
import os


def _import_matplotlib() -> None:
    """Import matplotlib under any MPLBACKEND; a backend that it knows remains in use for the user's own plots."""
    choice = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if choice is not None:
            os.environ["MPLBACKEND"] = choice
    if choice:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = choice


_import_matplotlib()
