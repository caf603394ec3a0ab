"""Plots, drawn from records and pictures alone.

Whoever imports matplotlib imports this package first: matplotlib reads the user's MPLBACKEND when it is imported, and
fails where it names a backend that is not installed, such as a notebook's. The plots need none: style.save uses Agg.
"""

from __future__ import annotations

import contextlib
import os


def _import_matplotlib() -> None:
    """Import matplotlib under any MPLBACKEND; one that it knows stays the choice of the user's own plots."""
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
