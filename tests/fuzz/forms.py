"""What a file's format is to a fuzzer: bytes as a tree that can be changed, a tree as bytes with a right checksum.

Random bytes end at the first checksum. Changes that are made inside it, and sealed again, reach the checks behind it.
"""

from __future__ import annotations

import json
import tomllib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.results.record import record_bytes
from bench.storage import sealed as tensors


@dataclass(frozen=True)
class Form:
    """`open` and `mend` raise ValueError (or a kin of it) for bytes that are too broken to be of the format."""

    open: Callable[[bytes], Any] | None = None  # content -> tree of dicts, lists and plain values; None: has no tree
    close: Callable[[Any], bytes] | None = None  # its inverse, of any tree, with right checksums
    mend: Callable[[bytes], bytes] = bytes  # changed content -> the same with right checksums


def _close_record(tree: Any) -> bytes:
    if isinstance(tree, dict):
        try:
            return record_bytes(tree)
        except (ValueError, RecursionError):
            pass  # what no record can hold: it goes in without a right checksum
    return json.dumps(tree).encode()


RECORD = Form(json.loads, _close_record, lambda content: _close_record(json.loads(content)))


JSON = Form(json.loads, lambda tree: json.dumps(tree).encode())


def _open_sealed(content: bytes) -> Any:
    """The header, its note unpacked, and the tensors' bytes as Latin-1 text."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    note = json.loads(header.pop("__metadata__")["sealed"])["note"]
    return {"note": note, "tensors": header, "data": content[8 + size :].decode("latin-1")}


def _close_sealed(tree: Any) -> bytes:
    tree = tree if isinstance(tree, dict) else {}
    inner = json.dumps({"sha256": "0" * 64, "note": tree.get("note")}, separators=(",", ":"))
    described = tree.get("tensors") if isinstance(tree.get("tensors"), dict) else {}
    header = json.dumps({"__metadata__": {"sealed": inner}, **described}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    data = str(tree.get("data", "")).encode("latin-1", "replace")
    return _mend_sealed(len(header).to_bytes(8, "little") + header + data)


def _mend_sealed(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[tensors._AT] = tensors._digest(changed)
    return bytes(changed)


SEALED = Form(_open_sealed, _close_sealed, _mend_sealed)


def _toml(value: Any) -> str:
    """A value as TOML on one line; what TOML has not (null) becomes nan."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "nan" if value is None else json.dumps(value) if isinstance(value, str | bool) else str(value)


def _close_profile(tree: Any) -> bytes:
    table = tree if isinstance(tree, dict) else {"x": tree}
    lines = (f"{json.dumps(str(key))} = {_toml(value)}\n" for key, value in table.items())
    return "".join(lines).encode("utf-8", "replace")


PROFILE = Form(lambda content: tomllib.loads(content.decode()), _close_profile)


def _mend_png(content: bytes) -> bytes:
    """Right checksums for the chunks of a PNG, as far as their lengths lead; other files stay as they are."""
    changed, place = bytearray(content), 8
    while content.startswith(b"\x89PNG") and place + 12 <= len(changed):
        end = place + 8 + int.from_bytes(changed[place : place + 4], "big")
        changed[end : end + 4] = zlib.crc32(changed[place + 4 : end]).to_bytes(4, "big")[: max(0, len(changed) - end)]
        place = end + 4
    return bytes(changed)


IMAGE = Form(mend=_mend_png)
PLAIN = Form()
