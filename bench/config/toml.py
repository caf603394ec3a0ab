"""TOML as editors save it: UTF-8, with or without a byte-order mark."""

from __future__ import annotations

import codecs
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UserError, one_line
from bench.storage.files import TooLargeError, read_bounded

_OTHERS = {  # what a file begins with -> its encoding; UTF-32 first, whose mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


LARGEST = 2**20  # bytes of a file of settings


def content(path: Path, what: str) -> bytes:
    """The bytes of a file of settings, which messages call `what`; UserError where it cannot be read or is no such."""
    try:
        return read_bounded(path, LARGEST)
    except TooLargeError as error:
        raise UserError(f"{what} has {error}: give a file of settings") from None
    except OSError as error:
        raise UserError(f"{what} cannot be read: {error.strerror or error}") from None


def parse(content: bytes, name: str) -> dict[str, Any]:
    """The table in a file's content; `name` is what messages call the file. UserError when it is not UTF-8 or TOML."""
    for mark, encoding in _OTHERS.items():
        if content.startswith(mark):
            raise UserError(f"{name} is {encoding} text: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (at byte {error.start:,}): save it as UTF-8") from None
    if "\0" in text:  # UTF-16 without a mark, or no text at all
        raise UserError(f"{name} holds zero bytes, as UTF-16 text does: save it as UTF-8")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number of thousands of digits
        raise UserError(f"{name} cannot be read: {one_line(error)}") from None


def text(table: dict[str, Any]) -> str:
    """A table of strings, finite numbers, truth values, lists of them, and such tables, as `parse` reads it."""
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: dict[str, Any], place: tuple[str, ...]) -> Iterator[str]:
    if place:
        yield f"\n[{'.'.join(map(json.dumps, place))}]"
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    yield from (f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items() if name not in inner)
    for name, value in inner.items():
        yield from _lines(value, (*place, name))
