"""Records: one JSON file per cell (dataset, model, training seed), written atomically, checked when read.

A results folder keeps its cells under `cells/<dataset>/<model>/seed-<training seed>/`; `docs/results.md` explains every
field. Nothing here imports torch, so tables and plots can be rebuilt on any machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import UserError

SCHEMA = 1
RECORD_NAME = "record.json"
STATUSES = ("finished", "diverged")

_NUMBER = (int, float)
_FIELDS: dict[str, dict[str, Any]] = {  # part of the record -> required field -> type; "" is the record itself
    "": {
        "dataset": str,
        "model": str,
        "training_seed": int,
        "evaluation_seed": int,
        "status": str,
        "message": str,
        "profile": str,
        "command": str,
        "created": str,
        "data": dict,
        "config": dict,
        "parameters": int,
        "parameters_trained": int,
        "network_evaluations_per_sample": _NUMBER,
        "training": dict,
        "metrics": list,
        "throughput": (dict, type(None)),
        "environment": dict,
        "images": dict,
    },
    "data": {
        "name": str,
        "image_shape": list,
        "train": int,
        "held_out": int,
        "split_seed": int,
        "content_hash": str,
        "notes": list,
    },
    "config": {"data": dict, "model": dict, "evaluation": dict},
    "training": {"updates": int, "planned_updates": int, "batch_size": int, "seconds": _NUMBER},
    "environment": {"device": str},
}
_METRIC = {"name": str, "label": str, "value": _NUMBER, "better": str}
_THROUGHPUT = {"samples_per_second": _NUMBER, "device": str}
_IMAGE = {"file": str, "rows": int, "columns": int}


@dataclass(frozen=True)
class Record:
    """A validated record and the folder that holds its log and pictures."""

    folder: Path
    data: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.folder / RECORD_NAME

    @property
    def dataset(self) -> str:
        return self.data["dataset"]

    @property
    def model(self) -> str:
        return self.data["model"]

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.data["training_seed"]

    @property
    def finished(self) -> bool:
        return self.data["status"] == "finished"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.data["metrics"]

    def metric(self, name: str) -> dict[str, Any] | None:
        """The metric of that name, or None where the cell has none (a diverged run has none at all)."""
        return next((metric for metric in self.metrics if metric["name"] == name), None)

    @property
    def samples_per_second(self) -> float | None:
        throughput = self.data["throughput"]
        return None if throughput is None else throughput["samples_per_second"]

    @property
    def stopped_at(self) -> int:
        """The update at which a diverged run stopped: the one its message names, else the number of updates made."""
        named = re.search(r"at update (\d+)", self.data["message"])
        return int(named.group(1)) if named else self.data["training"]["updates"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a temporary file in the same folder takes the name when it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomic, UTF-8, and the same bytes on every system (no translation of line ends)."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented JSON. NaN and Infinity are not JSON: ValueError, and the file stays as it was."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


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


def read(path: Path) -> dict[str, Any]:
    """Read and check one record. Unknown fields pass; a missing one, another schema or damaged JSON is a UserError."""
    try:
        record = json.loads(Path(path).read_bytes().decode("utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(f"cannot read the record {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        _damaged(path, f"damaged JSON ({error})")
    if not isinstance(record, dict):
        _damaged(path, "not a JSON object")
    if record.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: schema {record.get('schema')!r}, but this version reads {SCHEMA}; "
            "use the version of the suite that wrote it, or delete its folder and run the cell again"
        )
    for part, fields in _FIELDS.items():
        _require(path, record[part] if part else record, fields, part)
    _require_values(path, record)
    for index, metric in enumerate(record["metrics"]):
        _require(path, metric, _METRIC, f"metrics[{index}]")
        if metric["better"] not in ("lower", "higher"):
            _damaged(path, f"field metrics[{index}].better is {metric['better']!r}, not 'lower' or 'higher'")
    if record["throughput"] is not None:
        _require(path, record["throughput"], _THROUGHPUT, "throughput")
    for name, image in record["images"].items():
        _require(path, image, _IMAGE, f"images.{name}")
        if Path(image["file"]).name != image["file"] or min(image["rows"], image["columns"]) < 1:
            _damaged(path, f"field images.{name} does not name a file beside the record with rows and columns")
    return record


def read_all(root: Path) -> list[Record]:
    """Every record of a results folder, by dataset, model and training seed; a cell without a record is left out."""
    paths = sorted(Path(root).glob(f"cells/*/*/seed-*/{RECORD_NAME}"))
    records = [Record(path.parent, read(path)) for path in paths]
    return sorted(records, key=lambda record: (record.dataset, record.model, record.seed, str(record.folder)))


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first setting that differs between two nested configurations: `ebm.steps is 20 there and 50 here`, or None.

    `old` is what the results folder holds (there), `new` what is asked for (here). Tuples equal lists, as in JSON.
    """
    return _difference(old, new, "")


def _difference(old: Any, new: Any, where: str) -> str | None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            found = _difference(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{where}.{key}" if where else str(key))
            if found:
                return found
        return None
    old, new = _plain(old), _plain(new)
    if old == new and isinstance(old, bool) == isinstance(new, bool):  # True == 1 in Python, not in a record
        return None
    return f"{where or 'the configuration'} is {_shown(old)} there and {_shown(new)} here"


_ABSENT = object()


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    return "not set" if value is _ABSENT else json.dumps(value, ensure_ascii=False, default=str)


def _require(path: Path, value: Any, fields: dict[str, Any], part: str) -> None:
    prefix = f"{part}." if part else ""
    if not isinstance(value, dict):
        _damaged(path, f"field {part} is not an object")
    for name, kind in fields.items():
        if name not in value:
            _damaged(path, f"field {prefix}{name} is missing")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            _damaged(path, f"field {prefix}{name} is {json.dumps(value[name])[:60]}, which has the wrong type")


def _require_values(path: Path, record: dict[str, Any]) -> None:
    if record["status"] not in STATUSES:
        _damaged(path, f"status {record['status']!r} is none of {', '.join(STATUSES)}")
    shape = record["data"]["image_shape"]
    if len(shape) != 3 or not all(isinstance(side, int) for side in shape):
        _damaged(path, f"field data.image_shape is {shape}, not [channels, height, width]")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _damaged(path: Path, what: str) -> NoReturn:
    raise UserError(f"{path}: {what}; delete the folder {Path(path).parent} and run the cell again")
