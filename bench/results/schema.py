"""The fields of a record (schema 4), and their check. `docs/results.md` explains every field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import UserError, one_line
from bench.results.layout import run_again

SCHEMA = 4
READ = (3, SCHEMA)  # schema 3 through `bench/results/upgrade.py`
STATUSES = ("finished", "diverged", "oom")  # oom: out of memory; a cell that is not finished has no scores
GROUPS = ("samples", "reconstruction", "interpolation", "diagnostics")  # the groups of the tables, in this order
BETTER = ("lower", "higher", "none")  # none: a description, which is neither ranked nor tested
REFERENCES = ("real", "expected", "blurred", "noised", "noise")  # in the order of the tables' rows
ELSEWHERE = "elsewhere"  # the origin of images that were scored without a training: nothing is known of it
UNKNOWN = {  # part of the record -> fields that are null there
    "": ("parameters", "parameters_trained", "network_evaluations_per_sample"),
    "training": ("updates", "planned_updates", "batch_size", "seconds"),
}
LARGEST = 2**63 - 1  # a whole number, either sign
LONGEST = 300  # letters of a message

_NUMBER = (int, float)
_OPTIONAL_NUMBER = (int, float, type(None))
_FIELDS: dict[str, dict[str, Any]] = {  # part of the record -> required field -> type; "" is the record itself
    "": {
        "dataset": str,
        "model": str,
        "training_seed": int,
        "evaluation_seeds": list,
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
        "sampler_step": str,
        "training": dict,
        "metrics": list,
        "references": dict,
        "curves": list,
        "throughput": (dict, type(None)),
        "environment": dict,
        "images": dict,
        "checksum": str,
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
_METRIC = {
    "name": str,
    "label": str,
    "group": str,
    "value": _NUMBER,
    "per_seed": list,
    "interval": (list, type(None)),
    "interval_of": str,
    "better": str,
}
_REFERENCE = {"title": str, "metrics": list}
_UNTRAINED = {"metrics": list, "curves": list}
_CURVE = {
    **dict.fromkeys(("name", "title", "group", "x_label", "y_label"), str),
    "x": list,
    "y": list,
    "mark": _OPTIONAL_NUMBER,
    "figures": dict,
}
_CHECKPOINT = {
    **dict.fromkeys(("rule", "metric", "against"), str),
    **dict.fromkeys(("update", "candidates", "samples"), int),
    "score": _NUMBER,
}
_THROUGHPUT = {"samples_per_second": _NUMBER, "device": str}
_COUNTS = (  # numbers of the fields above that are 0 or more
    ("", ("parameters", "parameters_trained", "network_evaluations_per_sample")),
    ("training", ("updates", "planned_updates", "batch_size", "seconds")),
    ("data", ("train", "held_out")),
)
_OPTIONAL: dict[str, dict[str, Any]] = {  # fields that may be absent or null, but are of their type where they stand
    "": {"log": str, "protocol": str, "untrained": dict, "latent_dimensions": int, "origin": str},
    "config": {"training": dict},
    "training": {"checkpoint": dict},
    "environment": {"packages": dict, "gpu": dict, "git_commit": str, "git_dirty": bool, "threads": int, "ranks": int},
    "metric": {
        **dict.fromkeys(("n", "n_real", "n_generated", "points", "budget", "resize"), int),
        **dict.fromkeys(
            ("note", "table", "extractor", "weights_hash", "method", "spread_of", "budget_unit", "made_of"), str
        ),
        "spread": _NUMBER,
        "lead": bool,
    },
    "throughput": {"repeats": int, "batch_size": int, "threads": int, "dtype": str, "peak_memory_mib": _NUMBER},
    "image": {"labels": list},
}
FILE = r"(?!\.)[\w. ()+,-]{1,200}"  # a name that can only lead to a file beside the record
_IMAGE = {"file": str, "rows": int, "columns": int}


def check(path: Path, record: Any) -> dict[str, Any]:
    """Return the record if it is valid. Unknown fields pass; a missing or wrong field or another schema is a UserError.

    `path` is the record's own path, for the message.
    """
    check_schema(path, record)
    _refuse_extremes(path, record)
    elsewhere = record.get("origin") is not None
    for part, fields in _FIELDS.items():
        null = UNKNOWN.get(part, ()) if elsewhere else ()
        known = {name: type(None) if name in null else kind for name, kind in fields.items()}
        _require(path, record[part] if part else record, known, part)
        _allow(path, record[part] if part else record, part, part)
    if (chosen := record["training"].get("checkpoint")) is not None:
        _require(path, chosen, _CHECKPOINT, "training.checkpoint")
    _check_values(path, record)
    _check_metrics(path, record["metrics"], "metrics", len(record["evaluation_seeds"]))
    for name, reference in record["references"].items():
        _require(path, reference, _REFERENCE, f"references.{name}")
        _check_metrics(path, reference["metrics"], f"references.{name}.metrics", 1)
    for index, curve in enumerate(record["curves"]):
        _check_curve(path, curve, f"curves[{index}]")
    if (untrained := record.get("untrained")) is not None:
        _require(path, untrained, _UNTRAINED, "untrained")
        _check_metrics(path, untrained["metrics"], "untrained.metrics", 1)
        for index, curve in enumerate(untrained["curves"]):
            _check_curve(path, curve, f"untrained.curves[{index}]")
    if record["throughput"] is not None:
        _require(path, record["throughput"], _THROUGHPUT, "throughput")
        _allow(path, record["throughput"], "throughput", "throughput")
        _refuse_negative(path, record["throughput"], ("samples_per_second",), "throughput.")
    for name, image in record["images"].items():
        _check_image(path, image, f"images.{name}")
    return record


def _refuse_extremes(path: Path, record: dict[str, Any]) -> None:
    """Refuse integers, anywhere in the record, that a float, an index or another program cannot hold."""
    nodes: list[Any] = [record]
    while nodes:
        node = nodes.pop()
        if isinstance(node, int) and abs(node) > LARGEST:
            damaged(path, f"the number {str(node)[:24]}... is out of range")
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def check_schema(path: Path, record: Any) -> None:
    """Raise UserError unless `record` is an object of a schema that is read; its other fields are not checked."""
    if not isinstance(record, dict):
        damaged(path, "not a JSON object")
    schema = record.get("schema")
    if type(schema) is not int or schema not in READ:
        raise UserError(
            f"{path}: schema {_shown(schema)}, but this version reads {' and '.join(map(str, READ))}; "
            f"use the version of the suite that wrote it, or {run_again(Path(path).parent)}"
        )


def damaged(path: Path, what: str) -> NoReturn:
    """Raise the UserError for a record that cannot be used. `what` may quote it; it becomes one printable line."""
    raise UserError(f"{path}: {one_line(what, LONGEST)}; restore the file, or {run_again(Path(path).parent)}")


def _check_values(path: Path, record: dict[str, Any]) -> None:
    if record["status"] not in STATUSES:
        damaged(path, f"status {record['status']!r} is not one of {', '.join(STATUSES)}")
    shape = record["data"]["image_shape"]
    if len(shape) != 3 or not all(type(side) is int and side > 0 for side in shape):
        damaged(path, f"field data.image_shape is {_shown(shape)}, not [channels, height, width]")
    if not _strings(record["data"]["notes"]):
        damaged(path, f"field data.notes is {_shown(record['data']['notes'])}, not a list of sentences")
    if record.get("origin") is not None:
        _one_of(path, record["origin"], (ELSEWHERE,), "origin")
    for part, names in _COUNTS:
        there = record[part] if part else record
        counted = tuple(name for name in names if there[name] is not None)
        _refuse_negative(path, there, counted, f"{part}." if part else "")
    if (record.get("latent_dimensions") or 0) < 0:
        damaged(path, f"field latent_dimensions is {record['latent_dimensions']}, which is below 0")
    seeds = record["evaluation_seeds"]
    if not seeds or not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        damaged(path, f"field evaluation_seeds is {_shown(seeds)}, not a list of one or more different integers")
    if unknown := next((name for name in record["references"] if name not in REFERENCES), None):
        damaged(path, f"field references.{unknown} is not one of {', '.join(REFERENCES)}")
    if record["status"] != "finished":
        for name in ("metrics", "references", "curves", "untrained"):
            if record.get(name):
                damaged(path, f"field {name} is not empty although the status is {record['status']}")


def _check_metrics(path: Path, metrics: list[Any], part: str, seeds: int) -> None:
    """Check every entry of a list of scores; each is the mean of `seeds` values."""
    taken: dict[str, set[str]] = {"name": set(), "label": set()}
    for index, metric in enumerate(metrics):
        where = f"{part}[{index}]"
        _require(path, metric, _METRIC, where)
        _allow(path, metric, "metric", where)
        _one_of(path, metric["better"], BETTER, f"{where}.better")
        _one_of(path, metric["group"], GROUPS, f"{where}.group")
        values, interval = metric["per_seed"], metric["interval"]
        if len(values) != seeds or not _numbers(values):
            damaged(path, f"field {where}.per_seed is {_shown(values)}, not a number for each evaluation seed")
        if not math.isclose(metric["value"], math.fsum(values) / seeds, rel_tol=1e-6, abs_tol=1e-9):
            damaged(path, f"field {where}.value is {metric['value']}, not the mean of per_seed {_shown(values)}")
        if interval is not None and not (len(interval) == 2 and _numbers(interval) and interval[0] <= interval[1]):
            damaged(path, f"field {where}.interval is {_shown(interval)}, neither null nor [low, high]")
        for field, seen in taken.items():
            if metric[field] in seen:
                damaged(path, f"field {where}.{field} is {metric[field]!r}, which occurs twice")
            seen.add(metric[field])


def _check_curve(path: Path, curve: Any, where: str) -> None:
    _require(path, curve, _CURVE, where)
    if type(curve.get("log_x")) is not bool:
        damaged(path, f"field {where}.log_x is {_shown(curve.get('log_x'))}, neither true nor false")
    if not _strings(curve["figures"].values()):
        damaged(path, f"field {where}.figures is {_shown(curve['figures'])}, not figures with a title for each")
    x, y = curve["x"], curve["y"]
    if not x or len(x) != len(y) or not _numbers([*x, *y]):
        damaged(path, f"field {where} does not have as many numbers x as y, one or more")
    if curve["log_x"] and min([*x, *([curve["mark"]] if curve["mark"] is not None else [])]) <= 0:
        damaged(path, f"field {where} has an x or a mark of 0 or less on a logarithmic axis")


def _check_image(path: Path, image: Any, where: str) -> None:
    _require(path, image, _IMAGE, where)
    _allow(path, image, "image", where)
    if not re.fullmatch(FILE, image["file"]) or min(image["rows"], image["columns"]) < 1:
        damaged(path, f"field {where} does not name a file beside the record with rows and columns")
    if not _strings(image.get("labels") or []):
        damaged(path, f"field {where}.labels is {_shown(image['labels'])}, not a list of labels")


def _allow(path: Path, value: dict[str, Any], part: str, where: str) -> None:
    """Refuse an optional field of the wrong type."""
    for name, kind in _OPTIONAL.get(part, {}).items():
        found = value.get(name)
        if found is not None and (not isinstance(found, kind) or isinstance(found, bool) != (kind is bool)):
            damaged(path, f"field {where + '.' if where else ''}{name} is {_shown(found)}, which has the wrong type")


def _refuse_negative(path: Path, value: dict[str, Any], names: tuple[str, ...], prefix: str) -> None:
    if negative := next((name for name in names if value[name] < 0), None):
        damaged(path, f"field {prefix}{negative} is {_shown(value[negative])}, which is below 0")


def _require(path: Path, value: Any, fields: dict[str, Any], part: str) -> None:
    prefix = f"{part}." if part else ""
    if not isinstance(value, dict):
        damaged(path, f"field {part} is not an object")
    for name, kind in fields.items():
        if name not in value:
            damaged(path, f"field {prefix}{name} is missing")
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            damaged(path, f"field {prefix}{name} is {_shown(value[name])}, which has the wrong type")


def _one_of(path: Path, value: str, choices: tuple[str, ...], where: str) -> None:
    if value not in choices:
        damaged(path, f"field {where} is {value!r}, none of {', '.join(choices)}")


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, _NUMBER) and type(value) is not bool and math.isfinite(value) for value in values)


def _strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]
