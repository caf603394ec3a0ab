"""The JSON Schema of records: as the file says, true of every committed record, and no laxer than the check."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results import json_schema, schema
from bench.results.record import CHECKSUM, read
from tests import fabricate

ROOT = Path(__file__).parent.parent
UNKNOWN = {name for names in schema.UNKNOWN.values() for name in names}
RECORDS = sorted((ROOT / "results" / "reference").rglob("record.json"))


@pytest.fixture(scope="module")
def validator():
    found = pytest.importorskip("jsonschema").Draft202012Validator
    found.check_schema(json_schema.json_schema())
    return found(json_schema.json_schema())


def record(**more):
    """A record with one entry of each kind, which is enough to try every field."""
    data = fabricate.record(evaluation_seeds=(0,), **more) | {CHECKSUM: "0" * 64}
    data |= {name: data[name][:1] for name in ("metrics", "curves")}
    data["images"] = dict(list(data["images"].items())[-1:])
    kept = {kind: one | {"metrics": one["metrics"][:1]} for kind, one in data["references"].items()}
    return data | {"references": dict(list(kept.items())[:1])}


def elsewhere():
    data = record() | dict.fromkeys(schema.UNKNOWN[""]) | {"origin": "elsewhere"}
    return data | {"training": dict.fromkeys(schema.UNKNOWN["training"])}


def test_the_file_is_what_the_code_says():
    """`python -m bench.results.json_schema > docs/record.schema.json` writes it again."""
    assert (ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8") == json_schema.text()


def test_every_committed_record_is_valid(validator):
    assert len(RECORDS) > 20
    for path in RECORDS:
        error = next(validator.iter_errors(read(path)), None)
        assert error is None, f"{path}: {error.message}"


def test_every_kind_of_record_is_valid(validator):
    for data in (record(), record(diverged_at=7), record(out_of_memory=True), elsewhere()):
        schema.check(Path("record.json"), data)
        assert next(validator.iter_errors(data), None) is None


def places(node, path=()):
    """Every field of a record, and the first entry of each list."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(node, list) and node:
        yield from places(node[0], (*path, 0))


def changed(data, path, value):
    data = copy.deepcopy(data)
    node = data
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return data


def refused(data) -> bool:
    try:
        schema.check(Path("record.json"), data)
    except UserError:
        return True
    return False


@pytest.mark.parametrize(
    "make", [record, elsewhere, lambda: record(diverged_at=7)], ids=["cell", "elsewhere", "diverged"]
)
def test_what_the_schema_refuses_the_check_refuses_and_the_other_way_round(validator, make):
    """Every field left out, and made a text, a truth and a negative number, one at a time.

    What a schema cannot say is left out: means of seeds, equal lengths, and limits that depend on other fields.
    """
    whole, beyond = make(), ("value", "per_seed", "interval", "x", "y", "mark", "name", "label")
    refusals = 0
    for path in places(whole):
        if path[-1] in beyond or (make is elsewhere and path[-1] not in UNKNOWN):
            continue
        for value in (None, "text", True, -1):  # None: without the field
            data = changed(whole, path, value)
            valid = next(validator.iter_errors(data), None) is None
            assert valid != refused(data), f"{path} = {json.dumps(value)}: the schema says {valid}"
            refusals += not valid
    assert refusals >= (100 if make is not elsewhere else 20)
