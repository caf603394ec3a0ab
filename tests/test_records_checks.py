"""What a record must hold, and that anything else, down to one bit, is one line that names file, field and remedy."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from bench.errors import UserError
from bench.results import record as records
from tests import fabricate


def _without(data, path):
    *parents, last = path.split(".")
    part = data
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    del part[last]
    return data


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("status", "field status is missing"),
        ("data.content_hash", "field data.content_hash is missing"),
        ("training.seconds", "field training.seconds is missing"),
        ("environment.device", "field environment.device is missing"),
        ("evaluation_seeds", "field evaluation_seeds is missing"),
        ("references", "field references is missing"),
        ("curves", "field curves is missing"),
        ("metrics.1.value", r"field metrics\[1\].value is missing"),
        ("metrics.1.group", r"field metrics\[1\].group is missing"),
        ("metrics.1.per_seed", r"field metrics\[1\].per_seed is missing"),
        ("metrics.1.interval", r"field metrics\[1\].interval is missing"),
        ("metrics.1.interval_of", r"field metrics\[1\].interval_of is missing"),
        ("references.real.title", "field references.real.title is missing"),
        ("references.noise.metrics.2.value", r"field references.noise.metrics\[2\].value is missing"),
        ("curves.0.x_label", r"field curves\[0\].x_label is missing"),
        ("curves.0.mark", r"field curves\[0\].mark is missing"),
        ("curves.0.log_x", r"field curves\[0\].log_x is null"),
        ("throughput.samples_per_second", "field throughput.samples_per_second is missing"),
        ("images.chain.rows", "field images.chain.rows is missing"),
        ("schema", "schema null"),
    ],
)
def test_a_missing_field_is_named(tmp_path, path, named):
    file = tmp_path / "seed-0" / "record.json"
    records.write_record(file, _without(fabricate.record(), path))
    with pytest.raises(UserError, match=named) as caught:
        records.read(file)
    assert str(file) in str(caught.value)
    assert "runs the cell again" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 2}, "schema 2, but this version reads 3 and 4"),
        ({"schema": 5}, "schema 5, but this version reads 3 and 4"),
        ({"schema": "4"}, 'schema "4", but this version reads 3 and 4'),
        ({"schema": 4.0}, "schema 4.0, but this version reads 3 and 4"),
        ({"evaluation_seeds": []}, r"field evaluation_seeds is \[\]"),
        ({"evaluation_seeds": [0, 0]}, r"field evaluation_seeds is \[0, 0\]"),
        ({"evaluation_seeds": [0, "1"]}, "not a list of one or more different integers"),
        (
            {"references": {"middle": {"title": "", "metrics": []}}},
            "references.middle is not one of real, expected, blurred, noised, noise",
        ),
        ({"status": "running"}, "status 'running'"),
        ({"parameters": "many"}, "field parameters"),
        ({"training_seed": True}, "field training_seed"),
        ({"metrics": [3]}, r"metrics\[0\] is not an object"),
        *(
            ({"images": {"samples": {"file": file, "rows": 1, "columns": 1}}}, "images.samples")
            for file in (
                "../../secret.png",
                "..",
                ".",
                "",
                "/x.png",
                "a\\b.png",
                "a\0.png",
                "a\n.png",
                ".x.png",
                "x" * 300,
            )
        ),
        ({"images": {"samples": {"file": "a.png", "rows": 1, "columns": 1, "labels": [1]}}}, "images.samples.labels"),
        ({"parameters": 10**30}, r"the number 10+\.\.\. is out of range"),
        ({"unknown": {"deep": [10**400]}}, "is out of range"),
        ({"parameters": -1}, "field parameters is -1, which is below 0"),
        ({"log": 3}, "field log is 3, which has the wrong type"),
        (
            {"references": {"a\x1b[31m\nb": {}}},
            r"field references.a\?\[31m b is not one of real, expected, blurred, noised, noise",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, named):
    file = tmp_path / "record.json"
    records.write_record(file, fabricate.record() | change)
    with pytest.raises(UserError, match=named):
        records.read(file)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("metrics.0.better", "more", r"metrics\[0\].better is 'more', none of lower, higher, none"),
        ("metrics.0.group", "other", r"metrics\[0\].group is 'other', none of samples, "),
        ("metrics.0.value", 0.5, r"metrics\[0\].value is 0.5, not the mean of per_seed"),
        ("metrics.0.per_seed", [51.0], r"metrics\[0\].per_seed is \[51.0\], not a number for each evaluation seed"),
        ("metrics.0.per_seed", [51.0, None], r"metrics\[0\].per_seed"),
        ("metrics.0.interval", [1.0], r"metrics\[0\].interval is \[1.0\], neither null nor \[low, high\]"),
        ("metrics.0.interval", [2.0, 1.0], r"metrics\[0\].interval"),
        ("metrics.0.value", 10**400, "is out of range"),
        ("metrics.0.lead", 1, r"metrics\[0\].lead is 1, which has the wrong type"),
        ("metrics.0.n_real", True, r"metrics\[0\].n_real is true, which has the wrong type"),
        ("metrics.0.note", ["a"], r"metrics\[0\].note is"),
        ("data.image_shape", [1, 0, 8], "field data.image_shape"),
        ("data.notes", [1], "field data.notes"),
        ("environment.packages", [], "field environment.packages"),
        ("throughput.samples_per_second", -1, "field throughput.samples_per_second is -1, which is below 0"),
        ("metrics.1.name", "FD", r"metrics\[1\].name is 'FD', which occurs twice"),
        ("metrics.1.label", "FD(efficientnet-lite0)", r"metrics\[1\].label is .*, which occurs twice"),
        ("references.real.metrics.0.per_seed", [1.0, 1.0], r"references.real.metrics\[0\].per_seed"),
        ("curves.0.y", [1.0], r"curves\[0\] does not have as many numbers x as y"),
        ("curves.0.x", [], r"curves\[0\] does not have as many numbers x as y"),
        ("curves.0.mark", 0, r"curves\[0\] has an x or a mark of 0 or less on a logarithmic axis"),
        ("curves.0.mark", True, r"curves\[0\].mark is true"),
    ],
)
def test_a_wrong_value_deep_inside_is_named(tmp_path, path, value, named):
    data = fabricate.record()
    *parents, last = path.split(".")
    part = data
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[last] = value
    file = tmp_path / "record.json"
    records.write_record(file, data)
    with pytest.raises(UserError, match=named):
        records.read(file)


def test_an_infinite_number_is_refused(tmp_path):
    file = tmp_path / "record.json"
    records.write_record(file, fabricate.record())
    file.write_text(re.sub(r'("per_seed": \[\s*)[\d.]+', r"\g<1>1e999", file.read_text(), count=1))
    with pytest.raises(UserError, match="its content does not fit its checksum"):
        records.read(file)


@pytest.mark.parametrize("status", ["diverged", "oom"])
@pytest.mark.parametrize("part", ["metrics", "references", "curves"])
def test_a_record_that_is_not_finished_has_no_scores(tmp_path, part, status):
    file = tmp_path / "record.json"
    stopped = fabricate.record(diverged_at=7) | {"status": status}
    records.write_record(file, stopped)
    assert records.read(file)["status"] == status
    records.write_record(file, stopped | {part: fabricate.record()[part]})
    with pytest.raises(UserError, match=f"field {part} is not empty although the status is {status}"):
        records.read(file)


def test_the_checksum_is_the_hash_of_the_record_without_it(tmp_path):
    file = tmp_path / "record.json"
    records.write_record(file, fabricate.record() | {"checksum": "an old one"})
    whole = json.loads(file.read_bytes())
    assert list(whole)[-1] == "checksum"
    stated = whole.pop("checksum")
    body = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    assert stated == hashlib.sha256(body.encode()).hexdigest()


def test_any_flipped_bit_is_noticed(tmp_path):
    """Every bit of the checksum's line and one of each other byte of a short record; each reads as a UserError."""
    data = fabricate.record(diverged_at=7)
    content = records.record_bytes(data)
    assert records.parse(content, tmp_path / "record.json")["status"] == "diverged"
    tail = len(content) - content.rindex(b"\n  ")
    for place in range(len(content)):
        for bit in range(8) if place >= len(content) - tail else [place % 8]:
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            with pytest.raises(UserError):
                records.parse(bytes(flipped), tmp_path / "record.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b" ",
        lambda content: content[:-1],
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: json.dumps(json.loads(content)).encode(),
        lambda content: content.replace(b'"digits"', b'"\\u0064igits"', 1),
        lambda content: content.replace(b'{\n  "schema": 4,', b'{\n  "schema": 4,\n  "schema": 4,', 1),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b'"digits"', b'"\\ud800"', 1),
        lambda content: content[: content.rindex(b",")] + b"\n}\n",
    ],
    ids=["space", "no line end", "CRLF", "compact", "escape", "twice", "byte order mark", "surrogate", "no checksum"],
)
def test_only_the_bytes_that_were_written_are_a_record(tmp_path, change):
    content = records.record_bytes(fabricate.record())
    changed = change(content)
    assert changed != content
    with pytest.raises(UserError, match=r"move the folder .* away, and the same command runs the cell again") as caught:
        records.parse(changed, tmp_path / "record.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}"])
def test_json_that_the_parser_cannot_take_is_damaged(tmp_path, content):
    with pytest.raises(UserError, match="damaged JSON"):
        records.parse(content, tmp_path / "record.json")


def test_a_file_far_too_large_is_not_read_in(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 1000)
    file = tmp_path / "record.json"
    records.write_record(file, fabricate.record())
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        records.read(file)


@pytest.mark.parametrize("content", [b'{"schema": 3, "datas', b"", b"\xff\xfe", b"[1]", b'{"schema": NaN}'])
def test_damaged_json_is_one_line_with_the_remedy(tmp_path, content):
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"move the folder .* away, and the same command runs the cell again") as caught:
        records.read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
