"""The tensors of a TorchScript archive, read without its code: OpenAI publishes the weights of CLIP in such files."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CLASSES = "__torch__."  # the archive's own classes are below this name
CODE = re.compile(r"[^/]+/code/")  # where its code lies, which nothing here reads


class _Inert:
    """What every class of the archive is read as: attributes and no behaviour."""


# TorchScript writes typed lists and dictionaries through these functions, which return their first argument
_CONTAINERS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")


def _first(value: Any, *_: Any) -> Any:
    return value


def is_torchscript(path: Path) -> bool:
    """Whether the file is a zip that holds what `torch.jit.save` writes and `torch.save` does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the archive's module by their dotted names, on the CPU; none of its code is loaded.

    The archive's data alone are copied into memory and read by PyTorch's restricted reader, with every class an inert
    one. Raises what that reader raises, and ValueError for data that name anything else than the archive's classes.
    """
    data = _data(path)
    names = torch.serialization.get_unsafe_globals_in_checkpoint(data)
    containers = {f"torch.jit._pickle.{name}" for name in _CONTAINERS}
    if strange := sorted(name for name in names if not name.startswith(CLASSES) and name not in containers):
        raise ValueError(f"it names {strange[0]}")
    inert: list[Any] = [(_first if name in containers else _Inert, name) for name in names]
    data.seek(0)
    with torch.serialization.safe_globals(inert):
        module = torch.load(data, map_location="cpu", weights_only=True)
    found: dict[str, Tensor] = {}
    _collect(module, "", found)
    return found


def _data(path: Path) -> io.BytesIO:
    """The archive's data as a file that `torch.save` could have written."""
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as plain:
        for name in archive.namelist():
            folder, _, record = name.partition("/")
            if record in ("data.pkl", "version", "byteorder") or record.startswith("data/"):
                plain.writestr(f"{folder}/{record}", archive.read(name))
    copy.seek(0)
    return copy


def _collect(module: Any, prefix: str, found: dict[str, Tensor]) -> None:
    for name, value in getattr(module, "__dict__", {}).items():
        if isinstance(value, Tensor):
            found[prefix + name] = value.detach()
        elif isinstance(value, _Inert):
            _collect(value, f"{prefix}{name}.", found)
