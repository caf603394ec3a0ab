"""A results folder from above: `cells/` and `.locks/`, names that are safe as folders, and how to run a cell again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CELLS = "cells"
LOCKS = ".locks"
LONGEST = 80  # letters of a name that stays as it is

_HASHED = re.compile(r".{1,80}-[0-9a-f]{8}")  # what `folder_name` makes of a name that is not safe


def folder_name(name: str) -> str:
    """A name that is safe as one folder; where characters had to go, a hash keeps different names apart.

    `digits` stays `digits`; `folder:data/birds` becomes `folder-data-birds-` and eight hexadecimal digits. The name of
    a folder is its own folder's name.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
    if safe and safe == name and (len(name) <= LONGEST or _HASHED.fullmatch(name)):
        return name
    return f"{safe[:LONGEST] or 'unnamed'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def run_again(folder: Path) -> str:
    """The remedy for a cell whose files cannot be used. What is moved away is not lost."""
    return f"move the folder {folder} away, and the same command runs the cell again"
