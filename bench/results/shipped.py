"""The trained models that come with a clone of the repository: cells of its reference results that kept their weights.

A shipped model is called `DATASET/MODEL`, as in `digits/flow`. It is the cell itself, with its record and its pictures.
"""

from __future__ import annotations

from pathlib import Path

from bench.results.cell_folder import CellFolder

REFERENCE = Path(__file__).parents[2] / "results" / "reference"  # not there beside an installed package


def shipped() -> dict[str, CellFolder]:
    """Name -> cell, sorted by name; the lowest of several training seeds; nothing outside a clone."""
    found: dict[str, CellFolder] = {}
    for run in sorted(REFERENCE.glob("*")):
        for cell in CellFolder.all_in(run):
            if cell.weights_path.is_file() and cell.has_record:
                found.setdefault(f"{cell.dataset}/{cell.model}", cell)
    return dict(sorted(found.items()))


def place(source: str) -> Path:
    """The file or folder that `source` means: its own path where that exists, else the cell of a shipped model."""
    path = Path(source)
    cell = None if path.exists() else shipped().get(source)
    return cell.path if cell else path


def choices() -> str:
    """The names that there are, or why there are none, to end a message with."""
    names = ", ".join(shipped())
    return f"a shipped model ({names or 'none is here: they come with a clone of the repository'})"
