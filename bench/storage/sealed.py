"""Sealed safetensors files: tensors, a JSON note, and a SHA-256 of all bytes, so that any flipped bit is found.

Reading runs no code, and the library checks types, shapes and offsets against the file's size before it allocates.
The same tensors and note give the same bytes: all metadata is in one entry, as the library orders entries randomly.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from bench.errors import one_line

_ENTRY = "sealed"
_BLANK = b"0" * 64  # in place of the checksum while it is computed
_START = b'{"__metadata__":{"%s":"{\\"sha256\\":\\"' % _ENTRY.encode()  # of the header, which follows its own length
_AT = slice(8 + len(_START), 8 + len(_START) + len(_BLANK))  # position of the checksum


class DamagedError(ValueError):
    """Content that differs from what was written; the message says how, in a few words."""


def seal(tensors: dict[str, Tensor], note: Any) -> bytearray:
    """The content of a file. TypeError for a note that is not JSON, ValueError for tensors that share memory."""
    text = json.dumps({"sha256": _BLANK.decode(), "note": note}, separators=(",", ":"))
    content = bytearray(safetensors.torch.save(tensors, {_ENTRY: text}))
    if not (content.startswith(_START, 8) and content[_AT] == _BLANK):
        raise RuntimeError("this version of safetensors writes another header: the checksum has no place")
    content[_AT] = _digest(content)
    return content


def unseal(content: bytes) -> tuple[dict[str, Tensor], Any]:
    """The tensors, on the CPU, and the note. Raises DamagedError for anything but the output of `seal`."""
    if not content.startswith(_START, 8):
        raise DamagedError("not a sealed file of tensors")
    if _digest(content) != content[_AT]:
        raise DamagedError("wrong checksum")
    try:  # the checksum is not a signature: the writer may be malicious
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        note = json.loads(header["__metadata__"][_ENTRY])["note"]
        return safetensors.torch.load(content), note
    except (SafetensorError, ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
        raise DamagedError(f"{type(error).__name__}: {one_line(error)}") from error


def _digest(content: bytes | bytearray) -> bytes:
    """The hexadecimal SHA-256 of the content with a blank in place of the checksum."""
    view = memoryview(content)
    total = hashlib.sha256(view[: _AT.start])
    total.update(_BLANK)
    total.update(view[_AT.stop :])
    return total.hexdigest().encode()
