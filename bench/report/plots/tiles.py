"""Tile sheets: a cell's PNG grids without gaps, split into images and laid out again with gaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.results.record import Record

Pixels = NDArray[np.uint8]  # (H, W), or (H, W, 3)

_TARGET = 56  # side in screen pixels to which small images are enlarged; large ones are unchanged
GAP = 3


def read(record: Record, name: str) -> list[list[Pixels]]:
    """The images of a sheet, row by row; no rows if the record has no such sheet or its file cannot be read."""
    entry = record.data["images"].get(name)
    if entry is None:
        return []
    try:
        with Image.open(record.folder / entry["file"]) as file:
            sheet = np.asarray(file.convert("L" if file.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, SyntaxError, ValueError):  # Pillow's errors for a file that is missing, truncated or not a picture
        return []
    rows, columns = entry["rows"], entry["columns"]
    if sheet.shape[0] % rows or sheet.shape[1] % columns:
        return []
    return [np.split(band, columns, axis=1) for band in np.split(sheet, rows, axis=0)]


def enlargement(pixels: Pixels) -> int:
    """The whole factor that makes a small image legible: 8 -> 56, 28 -> 56, 32 -> 64 screen pixels."""
    return max(1, round(_TARGET / max(pixels.shape[:2])))


def mosaic(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """Images of one size side by side with white gaps, enlarged by repeating pixels; short rows end in white."""
    factor, columns = enlargement(rows[0][0]), max(len(row) for row in rows)

    def spaced(pixels: Pixels) -> Pixels:
        gaps = [(0, GAP), (0, GAP), (0, 0)][: pixels.ndim]
        return np.pad(pixels.repeat(factor, axis=0).repeat(factor, axis=1), gaps, constant_values=255)

    white = np.full_like(rows[0][0], 255)
    full = [[*map(spaced, row), *[spaced(white)] * (columns - len(row))] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in full])[:-GAP, :-GAP]


def crop(rows: list[list[Pixels]], *, most_rows: int, most_pixels: int, ends: bool = False) -> list[list[Pixels]]:
    """The first rows and columns that fit into a width of `most_pixels`; a sheet of large images is cut, not shrunk.

    `ends` keeps the first and the last column and takes the others evenly between them, as a path needs.
    """
    if not rows:
        return rows
    pitch = rows[0][0].shape[1] * enlargement(rows[0][0]) + GAP
    most, columns = max(1, (most_pixels + GAP) // pitch), len(rows[0])
    kept = range(min(most, columns))
    if ends and 2 <= most < columns:
        kept = [round(i * (columns - 1) / (most - 1)) for i in range(most)]
    return [[row[column] for column in kept] for row in rows[:most_rows]]
