"""Records: one JSON file per cell (data set, model, training seed), written atomically and checked when read.

`bench/results/cell_folder.py` says where a record is, `bench/results/schema.py` what it contains. Nothing here imports
torch, so tables and plots can be rebuilt on any machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import UserError
from bench.results.schema import SCHEMA as SCHEMA
from bench.results.schema import check, check_schema, damaged
from bench.results.upgrade import upgraded
from bench.storage.files import TooLargeError, json_text, read_bounded, write_bytes

CHECKSUM = "checksum"  # the last field of a record
LARGEST = 2**26  # bytes of a record; one with many curves and seeds has well under a hundredth of that


@dataclass(frozen=True)
class Record:
    """A validated record and its file."""

    path: Path
    data: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The cell's folder, which also holds the log and the pictures."""
        return self.path.parent

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
    def training_precision(self) -> str:
        """What updates computed their convolutions and matrix products in; float32 where the record says nothing."""
        return str((self.data["config"].get("training") or {}).get("precision", "float32"))

    @property
    def finished(self) -> bool:
        return self.data["status"] == "finished"

    @property
    def made_elsewhere(self) -> bool:
        """Whether it is of images that were scored without a training: of that nothing is known."""
        return self.data.get("origin") is not None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.data["metrics"]

    def metric(self, name: str) -> dict[str, Any] | None:
        """The metric of that name, or None if the cell does not have it (a diverged run has none at all)."""
        return next((metric for metric in self.metrics if metric["name"] == name), None)

    def curve(self, name: str) -> dict[str, Any] | None:
        """The curve of that name, or None if the cell does not have it."""
        return next((curve for curve in self.data["curves"] if curve["name"] == name), None)

    @property
    def untrained(self) -> list[dict[str, Any]]:
        """The metrics of the model with its first weights; none in a record that has none."""
        return (self.data.get("untrained") or {"metrics": []})["metrics"]

    def untrained_curve(self, name: str) -> dict[str, Any] | None:
        """The curve of that name of the model with its first weights, or None."""
        curves = (self.data.get("untrained") or {"curves": []})["curves"]
        return next((curve for curve in curves if curve["name"] == name), None)

    @property
    def samples_per_second(self) -> float | None:
        throughput = self.data["throughput"]
        return None if throughput is None else throughput["samples_per_second"]

    @property
    def stopped_at(self) -> int:
        """The update at which a diverged run stopped: the one in its message, else the number of updates made."""
        named = re.search(r"at update (\d+)", self.data["message"])
        return int(named.group(1)) if named else self.data["training"]["updates"]


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record atomically, with a checksum that replaces any it has. ValueError for what is not JSON."""
    write_bytes(path, record_bytes(record))


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """The content of a record's file: its JSON, whose last field is the SHA-256 of that JSON without this field."""
    rest = {name: value for name, value in record.items() if name != CHECKSUM}
    text = json_text(rest).encode("utf-8")
    last = {CHECKSUM: hashlib.sha256(text).hexdigest()}
    return text.removesuffix(b"\n}\n") + b",\n" + json_text(last).encode("utf-8").removeprefix(b"{\n")


def read(path: Path) -> dict[str, Any]:
    """Read and check one record. Unknown fields pass; a missing or wrong field, or a flipped bit, is a UserError."""
    try:
        content = read_bounded(path, LARGEST)
    except TooLargeError as error:
        damaged(path, f"{error}, which no record has")
    except OSError as error:
        raise UserError(f"cannot read the record {path}: {error.strerror or error}; check the path") from error
    return parse(content, Path(path))


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The record in the file `content`; `path` is for messages. UserError for anything but what was written."""
    try:
        record = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        damaged(path, f"damaged JSON ({error})")
    check_schema(path, record)
    try:
        whole = record_bytes(record) == content
    except (ValueError, RecursionError):  # half a surrogate pair or an infinite number: such JSON is never written
        whole = False
    if not whole and b"\r\n" in content:
        damaged(path, "its line ends were changed, as git's core.autocrlf does, and it does not fit its checksum")
    if not whole:
        damaged(path, "its content does not fit its checksum")
    return check(path, upgraded(record))


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first setting that differs between two nested configurations: `ebm.steps is 20 there and 50 here`, or None.

    `old` is what the results folder holds (there), `new` what is asked for (here). A tuple equals a list, as in JSON.
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


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
