"""Where everything lies in a results folder: `cells/<dataset>/<model>/seed-<training seed>/` and what is in it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

RECORD_NAME = "record.json"


def folder_name(name: str) -> str:
    """A name that is safe as one folder; where characters had to go, a hash keeps different names apart.

    `digits` stays `digits`; `folder:data/birds` becomes `folder-data-birds-` and eight hexadecimal digits.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80]
    if safe and safe == name:
        return name
    return f"{safe or 'unnamed'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def cell_folder(root: Path, dataset: str, model: str, seed: int) -> Path:
    """Where the cell of a dataset, a model and a training seed lives in the results folder `root`."""
    return Path(root) / "cells" / folder_name(dataset) / folder_name(model) / f"seed-{seed}"
