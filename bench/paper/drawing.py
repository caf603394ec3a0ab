"""A figure of the paper as a file with its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = "figures"  # under OUT


@dataclass(frozen=True)
class Drawing:
    path: Path
    title: str
    caption: str  # one paragraph of plain text
