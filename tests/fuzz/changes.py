"""Changes of a valid file: a few steps, each a plain tuple of numbers, so that both engines can draw them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fuzz.forms import Form

_BARE: list[Any] = [  # what readers trip over
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("nan")),
    *("", "a", "0", "..", ".", "/", "../../x", "a/b", "a\\b", "x" * 999),
    *("a\0b", "a\nb", "\x1b[31m", "\ud800", "\u202e"),
    *("finished", "diverged", "oom", "lower", "samples", "real", "t0", "tensor", "dict", "list", "value"),
    *("F32", "I64", "BF16", "BOOL", "F8_E4M3", "C64", "F4"),
    *([], {}, [[]], [None], [0], [1, 2], [0, 0], [0.5], ["a"], [{}], {"a": 1}, {"": {}}, {"tensor": "t0"}),
    *({"value": 1}, {"list": []}, {"dict": []}, {"dict": [["a", {"tensor": "t0"}]]}),
]
VALUES = [*map(json.dumps, _BARE), "[" * 300 + "]" * 300]  # as text, so that each use is a copy of its own
INTERESTING = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 4, b"\0" * 4, b"\x80\0\0\0", b"\xff" * 8, b"{", b'"')
Step = tuple[int, int, int]  # (kind of change, place, value), each from 0 up; every combination means something
REPLACE, DELETE, COPY, RENAME, TREE_KINDS = 0, 1, 2, 3, 4


def change_tree(tree: Any, steps: list[Step]) -> Any:
    """`tree` with the steps done to it, in place where it can be."""
    for kind, place, value in steps:
        holders = list(_places(tree))
        new = json.loads(VALUES[value % len(VALUES)])
        if not holders:
            return new
        holder, key = holders[place % len(holders)]
        if kind % TREE_KINDS == DELETE:
            del holder[key]
        elif kind % TREE_KINDS == COPY:  # one part of the tree in another's place
            other, name = holders[value % len(holders)]
            holder[key] = json.loads(json.dumps(other[name]))
        elif kind % TREE_KINDS == RENAME:
            holder.append(new) if isinstance(holder, list) else holder.update({str(new): holder.pop(key)})
        else:
            holder[key] = new
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of the tree; depth is bounded, so that a deep value does not end the fuzzer itself."""
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > 40:
            continue
        pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in pairs:
            yield node, key
            stack.append((child, depth + 1))


def change_bytes(content: bytes, steps: list[Step], others: list[bytes]) -> bytes:
    """`content` with bytes flipped, cut, doubled, overwritten, or joined with the end of another file."""
    changed = bytearray(content)
    for kind, place, value in steps:
        at = place % (len(changed) + 1)
        length = 1 + value % 16
        match kind % 6:
            case 0:
                changed[at : at + 1] = bytes(byte ^ 1 << value % 8 for byte in changed[at : at + 1])
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length]
            case 3:
                word = INTERESTING[value % len(INTERESTING)]
                changed[at : at + len(word)] = word
            case 4:
                changed[at : at + 4] = value.to_bytes(4, "little")
            case 5:
                other = others[value % len(others)]
                changed[at:] = other[value % (len(other) + 1) :]
    return bytes(changed)


def changed(form: Form, seeds: list[bytes], seed: int, whole: bool, seal: bool, steps: list[Step]) -> bytes:
    """One input: a seed with steps done to its tree (`whole` False, and where it has one) or to its bytes."""
    content = seeds[seed % len(seeds)]
    if form.open is not None and form.close is not None and not whole:
        return form.close(change_tree(form.open(content), steps))
    content = change_bytes(content, steps, seeds)
    return mended(form, content) if seal else content


def mended(form: Form, content: bytes) -> bytes:
    """Right checksums, where the content is still enough of its format to have any."""
    try:
        return form.mend(content)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return content
