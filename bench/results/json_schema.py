"""The JSON Schema of a record (draft 2020-12), from the same tables that `bench/results/schema.py` checks by.

    python -m bench.results.json_schema > docs/record.schema.json

It says all that a schema can: that a score is the mean of its seeds, and that a checksum fits, it cannot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bench.results import schema

_NAMES = {str: "string", int: "integer", float: "number", list: "array", dict: "object", bool: "boolean"}
_NAMES[type(None)] = "null"
Json = dict[str, Any]


def json_schema() -> Json:
    """A record as `bench.results.record.read` gives it: one of schema 4, or an older one that was upgraded."""
    record = _object(schema._FIELDS[""], schema._OPTIONAL[""])
    properties = record["properties"]
    properties |= {
        "schema": {"const": schema.SCHEMA},
        "status": {"enum": list(schema.STATUSES)},
        "origin": {"enum": [None, schema.ELSEWHERE]},
        "evaluation_seeds": {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "integer"}},
        "data": _object(schema._FIELDS["data"])
        | {"description": "the images, and how they were split: docs/results.md explains every field"},
        "config": _object(schema._FIELDS["config"]),
        "training": _object(schema._FIELDS["training"]),
        "environment": _object(schema._FIELDS["environment"], schema._OPTIONAL["environment"]),
        "metrics": _list("metric"),
        "references": {
            "type": "object",
            "propertyNames": {"enum": list(schema.REFERENCES)},
            "additionalProperties": _fields(_object(schema._REFERENCE), metrics=_list("metric")),
        },
        "curves": _list("curve"),
        "untrained": {
            "anyOf": [
                {"type": "null"},
                _fields(_object(schema._UNTRAINED), metrics=_list("metric"), curves=_list("curve")),
            ]
        },
        "throughput": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/throughput"}]},
        "images": {"type": "object", "additionalProperties": {"$ref": "#/$defs/image"}},
    }
    record["required"].insert(0, "schema")
    sides = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "integer", "minimum": 1}}
    data = properties["data"]["properties"]
    data |= {"image_shape": sides, "notes": {"type": "array", "items": {"type": "string"}}}
    for part, names in schema._COUNTS:
        _nonnegative(properties[part]["properties"] if part else properties, names)
    _nonnegative(properties, ["latent_dimensions"])
    known, unknown = _origins(record)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of the short-run EBM benchmark",
        "description": "One training of one model on one data set, or images made elsewhere, and what was measured.",
        **record,
        "allOf": [
            {"if": {"required": ["origin"], "properties": {"origin": {"const": schema.ELSEWHERE}}}}
            | {"then": unknown, "else": known},
            {"if": {"not": {"properties": {"status": {"const": "finished"}}}}, "then": _without_scores()},
        ],
        "$defs": {
            "metric": _metric(),
            "curve": _curve(),
            "throughput": _throughput(),
            "image": _image(),
        },
    }


def _metric() -> Json:
    interval = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}
    return _fields(
        _object(schema._METRIC, schema._OPTIONAL["metric"]),
        group={"enum": list(schema.GROUPS)},
        better={"enum": list(schema.BETTER)},
        per_seed={"type": "array", "minItems": 1, "items": {"type": "number"}},
        interval={"anyOf": [{"type": "null"}, interval]},
    )


def _curve() -> Json:
    numbers = {"type": "array", "minItems": 1, "items": {"type": "number"}}
    titles = {"type": "object", "additionalProperties": {"type": "string"}}
    curve = _fields(_object(schema._CURVE), x=numbers, y=numbers, figures=titles, log_x={"type": "boolean"})
    curve["required"].append("log_x")
    return curve


def _throughput() -> Json:
    found = _object(schema._THROUGHPUT, schema._OPTIONAL["throughput"])
    _nonnegative(found["properties"], ["samples_per_second"])
    return found


def _image() -> Json:
    labels = {"type": ["array", "null"], "items": {"type": "string"}}
    count = {"type": "integer", "minimum": 1}
    image = _object(schema._IMAGE, schema._OPTIONAL["image"])
    return _fields(
        image, file={"type": "string", "pattern": f"^{schema.FILE}$"}, rows=count, columns=count, labels=labels
    )


def _origins(record: Json) -> tuple[Json, Json]:
    """What a training would tell: known in a cell's record, null in one of images made elsewhere. Moved out of it."""
    known: Json = {"properties": {}}
    unknown: Json = {"properties": {}}
    for part, names in schema.UNKNOWN.items():
        place = record["properties"][part]["properties"] if part else record["properties"]
        own = {name: place[name] for name in names}
        place |= dict.fromkeys(names, True)
        null = {name: {"type": "null"} for name in names}
        for target, fields in ((known, own), (unknown, null)):
            target["properties"] |= {part: {"properties": fields}} if part else fields
    return known, unknown


def _without_scores() -> Json:
    nothing = {name: {"maxItems": 0} for name in ("metrics", "curves")} | {"references": {"maxProperties": 0}}
    return {"properties": nothing | {"untrained": {"type": "null"}}}


def _object(fields: Mapping[str, Any], optional: Mapping[str, Any] = {}) -> Json:
    """An object with fields that have to be there, and others that may be absent or null; unknown ones pass."""
    required = {name: _type(kind) for name, kind in fields.items()}
    maybe = {
        name: _type((kind if isinstance(kind, tuple) else (kind,)) + (type(None),)) for name, kind in optional.items()
    }
    return {"type": "object", "required": list(fields), "properties": required | maybe}


def _type(kind: Any) -> Json:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = list(dict.fromkeys(_NAMES[one] for one in kinds))
    if "number" in names and "integer" in names:
        names.remove("integer")
    return {"type": names[0] if len(names) == 1 else names}


def _fields(found: Json, **more: Json) -> Json:
    found["properties"] |= more
    return found


def _list(of: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/$defs/{of}"}}


def _nonnegative(properties: Json, names: Iterable[str]) -> None:
    for name in names:
        properties[name]["minimum"] = 0


def text() -> str:
    """The schema as it stands in docs/record.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")
