"""Checkpoints and sealed files: what is saved comes back, one state is the same bytes, and damage is never used."""

from __future__ import annotations

import json
import os

import pytest
import torch

from bench.errors import UserError
from bench.storage import sealed as tensors
from bench.storage.checkpoint import (
    DEEPEST,
    DamagedCheckpoint,
    checkpoint_bytes,
    load_checkpoint,
    parse_checkpoint,
    save_checkpoint,
)
from bench.storage.sealed import DamagedError, seal, unseal
from tests.fuzz.forms import SEALED

STATE = {"a": {0: torch.arange(3), "b": [1, 2.5, None, True, "word"]}, "t": (torch.ones(2, 2).t(), torch.empty(0, 5))}


def content(state=STATE, description=None):
    return bytes(checkpoint_bytes(state, {"note": 1} if description is None else description))


def test_a_state_comes_back_with_types_keys_and_order(tmp_path):
    save_checkpoint(tmp_path / "c", STATE, {"note": 1})
    state, description = load_checkpoint(tmp_path / "c")
    assert description == {"note": 1}
    assert list(state) == ["a", "t"]
    assert list(state["a"]) == [0, "b"]
    assert torch.equal(state["a"][0], torch.arange(3))
    assert state["a"]["b"] == [1, 2.5, None, True, "word"]
    assert torch.equal(state["t"][0], torch.ones(2, 2))
    assert state["t"][1].shape == (0, 5)
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_every_bit_of_a_tensor_is_kept(dtype):
    values = torch.tensor([0, 1, 3, 127], dtype=dtype)
    (state, _) = parse_checkpoint(content({"x": values}))
    assert state["x"].dtype == dtype
    assert torch.equal(state["x"].view(torch.uint8), values.view(torch.uint8))


def test_numbers_that_are_not_finite_are_kept():
    """A checkpoint is a state, not a score: an optimizer's sum may be infinite, and the run decides what that means."""
    state, description = parse_checkpoint(content({"x": torch.tensor([torch.inf])}, {"last": float("inf")}))
    assert state["x"].item() == description["last"] == float("inf")


def test_the_same_state_is_the_same_bytes():
    """So weights of two runs compare by their files; the library alone orders metadata anew in every process."""
    assert len({content() for _ in range(20)}) == 1
    assert content() != content(description={"note": 2})


def test_tensors_that_share_memory_are_kept_apart():
    whole = torch.arange(4.0)
    state, _ = parse_checkpoint(content({"a": whole, "b": whole, "c": whole[1:3]}))
    assert torch.equal(state["a"], state["b"])
    state["a"][0] = 9
    assert state["b"][0] == 0
    assert state["c"].tolist() == [1, 2]


@pytest.mark.parametrize("key", [True, None, 1.5, ("a", 1)])
def test_a_key_that_could_not_come_back_is_refused_when_saving(key):
    with pytest.raises(TypeError, match="strings and integers alone"):
        content({"a": {key: 1}})


# Damage


def test_any_flipped_bit_is_noticed():
    whole = content({"w": torch.arange(4.0)}, {})
    parse_checkpoint(whole)
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            with pytest.raises(DamagedError):
                parse_checkpoint(bytes(flipped))


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:7],
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: bytes(len(whole)),
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: b"PK\x03\x04" + whole,
    ],
)
def test_a_damaged_file_is_one_line_with_the_remedy(tmp_path, damage):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(damage(content()))
    with pytest.raises(DamagedCheckpoint, match="move it away to start afresh") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    """Falling back to an older checkpoint, or starting afresh over it, would lose work that is only out of reach."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UserError, match="check the path") as caught:
            load_checkpoint(path)
        assert not isinstance(caught.value, DamagedCheckpoint)


# Forged files: the checksum is right, and what it covers is not


def forged(**changes):
    """A checkpoint of one tensor t0 of four floats with parts of its note, its header or its data replaced."""
    tree = SEALED.open(content({"w": torch.arange(4.0)}, {"done": 1}))
    for part, value in changes.items():
        tree["note" if part in ("state", "description") else part] = (
            tree["note"] | {part: value} if part in ("state", "description") else value
        )
    return SEALED.close(tree)


def test_a_forgery_that_changes_nothing_is_read():
    state, description = parse_checkpoint(forged())
    assert state["w"].tolist() == [0, 1, 2, 3]
    assert description == {"done": 1}


def deep(levels):
    node = {"value": 1}
    for _ in range(levels):
        node = {"list": [node]}
    return node


WEIGHT = {"tensor": "t0"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"description": []}, "the description is no object"),
        ({"note": {"state": {"dict": []}}}, "no state and description"),
        ({"note": [1]}, "no state and description"),
        ({"state": {"dict": []}}, "1 tensors have no place"),
        ({"state": WEIGHT}, "the state is no object"),
        ({"state": {"dict": [["w", WEIGHT], ["v", WEIGHT]]}}, "is missing or used twice"),
        ({"state": {"dict": [["w", {"tensor": "t1"}]]}}, "is missing or used twice"),
        ({"state": {"dict": [["w", {"tensor": ["t0"]}]]}}, "is missing or used twice"),
        ({"state": {"dict": [["w", WEIGHT], ["w", {"value": 1}]]}}, "a wrong key"),
        ({"state": {"dict": [[True, WEIGHT]]}}, "a wrong key"),
        ({"state": {"dict": [[["w"], WEIGHT]]}}, "a wrong key"),
        ({"state": {"dict": [["w"]]}}, "a wrong key"),
        ({"state": {"dict": {"w": WEIGHT}}}, "the state is not nested"),
        ({"state": {"dict": [], "list": []}}, "the state is not nested"),
        ({"state": {"call": ["os.system", "true"]}}, "the state is not nested"),
        ({"state": []}, "the state is not nested"),
        ({"state": {}}, "the state is not nested"),
        ({"state": {"dict": [["w", WEIGHT], ["d", deep(DEEPEST)]]}}, "nested deeper than 32"),
        ({"state": deep(300)}, "nested deeper than 32"),
    ],
)
def test_a_wrong_tree_is_refused(changes, named):
    with pytest.raises(DamagedError, match=named):
        parse_checkpoint(forged(**changes))


def tensor(shape, end, dtype="F32", start=0):
    return {"tensors": {"t0": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}}


@pytest.mark.parametrize(
    "changes",
    [
        tensor([2**40], 2**42),
        tensor([2**62], 16),
        tensor([2**32, 2**32], 16),
        tensor([5], 20),
        tensor([3], 12),
        tensor([4], 16, "F64"),
        tensor([4], 16, "F16"),
        tensor([-4], 16),
        tensor([4], 16, start=-1),
        tensor([4.0], 16),
        tensor("4", 16),
        tensor([4], 16, "object"),
        {"tensors": {}},
        {"tensors": tensor([4], 16)["tensors"] | {"t1": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}},
        {"data": ""},
        {"data": "x" * 1000},
    ],
)
def test_sizes_that_do_not_fit_the_file_are_refused(changes):
    """By the library, before it allocates: a terabyte is claimed here in a file of 300 bytes."""
    with pytest.raises(DamagedError):
        parse_checkpoint(forged(**changes))


def test_a_note_that_is_no_json_or_too_deep_is_refused():
    whole = content({}, {"x": "PLACE"})
    for text in (b'[[[[ "x"', b'"PLAC":'):
        with pytest.raises(DamagedError):
            unseal(SEALED.mend(whole.replace(b'\\"PLACE\\"', text)))
    nest = "[" * 100_000
    with pytest.raises(DamagedError, match="RecursionError"):
        unseal(bytes(_raw(json.dumps({"__metadata__": {"sealed": '{"sha256":"' + "0" * 64 + '","note":' + nest}}))))


def _raw(header):
    header = header.replace(": ", ":", 2).encode()
    return SEALED.mend(len(header).to_bytes(8, "little") + header)


def test_seal_says_so_when_the_library_writes_another_header(monkeypatch):
    monkeypatch.setattr(tensors.safetensors.torch, "save", lambda *_: b"\0" * 8 + b'{"a":{}}')
    with pytest.raises(RuntimeError, match="another header"):
        seal({}, "x")
