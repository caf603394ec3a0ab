"""Checkpoints: one safetensors file of tensors and a JSON description; loading one never runs code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.errors import UserError
from bench.records import write_bytes

_TENSOR = "tensor"  # the key that stands for a tensor in the JSON tree


def save_checkpoint(path: Path, state: dict[str, Any], description: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors and JSON values, and a JSON description beside them, atomically."""
    tensors: dict[str, Tensor] = {}
    tree = _take_tensors(state, tensors)
    metadata = {"state": json.dumps(tree), "description": json.dumps(description)}
    write_bytes(path, save(tensors, metadata))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Any], dict[str, Any]]:
    """State and description as saved, tensors on `device`; UserError for a file that is not a whole checkpoint."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata()
            tree, description = json.loads(metadata["state"]), json.loads(metadata["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return _put_tensors(tree, tensors), description
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"cannot read the checkpoint {path} ({error}): remove it to start afresh") from None


def _take_tensors(node: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        name = f"t{len(tensors)}"
        # a copy: safetensors refuses tensors that share memory
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(node, dict):
        # pairs, since an optimizer's state is keyed by integers, which JSON would turn into strings
        return {"dict": [[key, _take_tensors(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [_take_tensors(value, tensors) for value in node]}
    return {"value": node}


def _put_tensors(node: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = node.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == "dict":
        return {key: _put_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_put_tensors(value, tensors) for value in content]
    return content
