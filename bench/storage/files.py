"""Files written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any


class TooLargeError(ValueError):
    """A file with more bytes than its kind can have; the message gives the limit."""


def read_bounded(path: Path, largest: int) -> bytes:
    """The content of a file of at most `largest` bytes.

    Raises TooLargeError for a longer file, without reading it, and OSError for one that cannot be read or is not a
    regular file: reading a pipe would wait, and a device has no end.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if about.st_size > largest:
            raise TooLargeError(f"more than {largest:,} bytes")
        return file.read(about.st_size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to opens at once


def write_bytes(path: Path, content: bytes | bytearray, *, lasting: bool = True) -> None:
    """Write a file whole or not at all: a temporary file in the same folder is renamed once it is on the disk.

    One that is not `lasting` is not waited for: after a loss of power it may be damaged or gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if lasting:
            sync_folder(path.parent)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error  # a full disk does not name the file
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries to the disk, so that a rename survives a loss of power. Not possible on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write text atomically in UTF-8, with the same bytes on every system (line ends are not translated)."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. NaN and Infinity are not JSON: ValueError, and the file is unchanged."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
