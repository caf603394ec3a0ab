"""Checkpoints: tensors, a JSON description and a checksum in one file; loading it never runs code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.storage.files import TooLargeError, read_bounded, write_bytes
from bench.storage.sealed import DamagedError, seal, unseal

LARGEST = 2**36  # bytes; a billion weights with their averages and moments take a quarter of it
DEEPEST = 32  # nested containers in a state; an optimizer's has four
_KEYS = (str, int)
_TENSOR = "tensor"  # the key of a tensor's place in the JSON tree


class DamagedCheckpoint(UserError):  # noqa: N818 - it names what the caller falls back from
    """A file that was read but is not a complete checkpoint of this version."""


def save_checkpoint(path: Path, state: dict[str, Any], description: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors and JSON values, with a JSON description, atomically."""
    write_bytes(path, checkpoint_bytes(state, description))


def checkpoint_bytes(state: dict[str, Any], description: dict[str, Any]) -> bytearray:
    """The content of a checkpoint: a function of state and description, bit for bit."""
    tensors: dict[str, Tensor] = {}
    tree = _take_tensors(state, tensors)
    return seal(tensors, {"state": tree, "description": description})


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """State and description as saved, with tensors on `device`.

    Raises UserError for a file that cannot be opened, and DamagedCheckpoint for one that is not a complete checkpoint.
    """
    try:
        content = read_bounded(path, LARGEST)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot read the checkpoint {path} ({reason}): check the path and its permissions") from None
    except TooLargeError as error:
        raise UserError(f"cannot read the checkpoint {path} ({error}): check the path") from None
    except MemoryError:
        raise UserError(f"cannot read the checkpoint {path} (larger than the free memory): check the path") from None
    try:
        return parse_checkpoint(content, device)
    except DamagedError as error:
        raise DamagedCheckpoint(
            f"cannot read the checkpoint {path} ({error}): restore it, or move it away to start afresh"
        ) from None


def parse_checkpoint(content: bytes, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """State and description in the content of a file. Raises DamagedError for anything but what was saved."""
    tensors, note = unseal(content)
    if not isinstance(note, dict) or note.keys() != {"state", "description"}:
        raise DamagedError("no state and description")
    if not isinstance(note["description"], dict):
        raise DamagedError("the description is no object")
    state = _put_tensors(note["state"], tensors, DEEPEST)
    if tensors:
        raise DamagedError(f"{len(tensors)} tensors have no place in the state")
    if not isinstance(state, dict):
        raise DamagedError("the state is no object")
    return _moved(state, device), note["description"]


def _take_tensors(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        name = f"t{len(tensors)}"
        # a copy: safetensors refuses tensors that share memory
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(node, dict):
        if wrong := [key for key in node if type(key) not in _KEYS]:
            raise TypeError(f"the state has a key {wrong[0]!r}: a checkpoint keeps strings and integers alone as keys")
        # pairs, since an optimizer's state is keyed by integers, which JSON would turn into strings
        return {"dict": [[key, _take_tensors(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [_take_tensors(value, tensors) for value in node]}
    return {"value": node}


def _put_tensors(node: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    """The inverse of `_take_tensors`, for a tree that may be anything; removes each tensor from `tensors`."""
    if depth == 0:
        raise DamagedError(f"a state nested deeper than {DEEPEST}")
    if not isinstance(node, dict) or len(node) != 1:
        raise DamagedError("the state is not nested as a checkpoint's is")
    ((kind, content),) = node.items()
    if kind == "value":
        return content
    if kind == _TENSOR:
        if not isinstance(content, str) or content not in tensors:
            raise DamagedError(f"the tensor {ascii(content)[:24]} is missing or used twice")
        return tensors.pop(content)
    if kind not in ("dict", "list") or not isinstance(content, list):
        raise DamagedError("the state is not nested as a checkpoint's is")
    if kind == "list":
        return [_put_tensors(value, tensors, depth - 1) for value in content]
    result: dict[str | int, Any] = {}
    for pair in content:
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) not in _KEYS or pair[0] in result:
            raise DamagedError("a wrong key of the state")
        result[pair[0]] = _put_tensors(pair[1], tensors, depth - 1)
    return result


def _moved(node: Any, device: torch.device | str) -> Any:
    if isinstance(node, Tensor):
        return node.to(device)
    if isinstance(node, dict):
        return {key: _moved(value, device) for key, value in node.items()}
    return [_moved(value, device) for value in node] if isinstance(node, list) else node
