"""What an exported model's folder says of it: its config.json, and the record of the cell that it was.

`bench.export` writes such a folder; `bench.zoo.load` and `bench.evaluate` read it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError, one_line
from bench.results.cell_folder import RECORD
from bench.results.record import Record, read
from bench.storage.files import TooLargeError, read_bounded

CONFIG = "config.json"
FORMAT = 1  # of config.json
LIBRARY = "short-run-ebm-benchmark"
_FIELDS = {
    "model": str,
    "factory": str,
    "settings": dict,
    "image_shape": list,
    "training_seed": int,
    "weights_sha256": str,
}
_LARGEST = 2**20  # bytes of a config.json


def described(record: Record, sha256: str) -> dict[str, Any]:
    """The content of config.json: what loading needs, and what a reader looks for first."""
    settings = dict(record.data["config"]["model"])
    return {
        "library": LIBRARY,
        "format": FORMAT,
        "model": record.model,
        "factory": settings.pop("factory"),
        "settings": settings,
        "image_shape": record.data["data"]["image_shape"],
        "dataset": record.dataset,
        "training_seed": record.seed,
        "weights_sha256": sha256,
    }


def read_description(folder: Path) -> dict[str, Any]:
    """What the folder's config.json says, each field of its type; UserError where it is missing or damaged."""
    path = folder / CONFIG
    try:
        about = json.loads(read_file(path, _LARGEST).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): get it again") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version's bench.export: export the model again")
    wrong = [name for name, kind in _FIELDS.items() if type(about.get(name)) is not kind]
    shape = about.get("image_shape")
    if wrong or len(shape) != 3 or not all(type(side) is int and 0 < side <= 4096 for side in shape):
        raise UserError(f"{path} is damaged: its {(wrong or ['image_shape'])[0]} is missing or wrong: get it again")
    return about


def read_record_of(folder: Path, about: dict[str, Any]) -> Record:
    """The record beside the config.json that says `about`; UserError where it is missing, damaged or of another."""
    path = folder / RECORD
    if not path.is_file():
        raise UserError(f"{folder} has no {RECORD}, which says how the model was scored: get the whole folder")
    record = Record(path, read(path))
    own = described(record, about["weights_sha256"])
    wrong = next((name for name in _FIELDS if own[name] != about[name]), None)
    if wrong:
        raise UserError(f"{path} is not that of its {CONFIG} ({wrong} differs): get both again")
    return record


def read_file(path: Path, largest: int) -> bytes:
    """The content of a file of an exported folder; UserError where it cannot be read or has more bytes than that."""
    try:
        return read_bounded(path, largest)
    except (OSError, TooLargeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"cannot read {path} ({reason}): give a folder that bench.export wrote") from None
