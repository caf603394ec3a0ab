"""The top of a results folder: `cells/`, `.locks/`, safe folder names, and how to run a cell again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CELLS = "cells"
LOCKS = ".locks"
LONGEST = 80  # letters of a name that stays unchanged

_HASHED = re.compile(r".{1,80}-[0-9a-f]{8}")  # what `folder_name` makes of an unsafe name


def folder_name(name: str) -> str:
    """A safe folder name; where characters had to be replaced, a hash keeps different names apart.

    `digits` stays `digits`; `folder:data/birds` becomes `folder-data-birds-` and eight hexadecimal digits. A name that
    this function returned stays unchanged.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
    if safe and safe == name and (len(name) <= LONGEST or _HASHED.fullmatch(name)):
        return name
    return f"{safe[:LONGEST] or 'unnamed'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_again(folder: Path) -> str:
    """The remedy for a cell whose files cannot be used. Moving them away loses nothing."""
    return f"move the folder {folder} away, and the same command runs the cell again"
