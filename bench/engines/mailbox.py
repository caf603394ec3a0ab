"""What the nodes of a cluster run that needs no torch, and so starts at once: a mailbox, and a look at a node."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.storage.files import write_bytes

LINE, STATE, SAVED, AT = "line", "state", "saved", "at"  # what a cell tells while it runs
HINDRANCE = "hindrance"


class Mailbox:
    """What running cells send and the driver has not taken yet; an actor beside the driver."""

    def __init__(self) -> None:
        self._mail: list[tuple[int, str, Any]] = []
        self._stopping = False

    def post(self, place: int, found: list[tuple[str, Any]]) -> bool:
        """Take a cell's messages, and say whether it is to stop."""
        self._mail += [(place, kind, content) for kind, content in found]
        return self._stopping

    def take(self) -> list[tuple[int, str, Any]]:
        mail, self._mail = self._mail, []
        return mail

    def stop(self) -> None:
        self._stopping = True


def probe(packages: Sequence[str]) -> dict[str, str | None]:
    """The versions of Python and of packages here, and under HINDRANCE what keeps a node from working."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_bytes(Path(folder) / "probe", b"probe")
    except OSError as error:
        versions[HINDRANCE] = f"cannot write temporary files ({error.strerror or error})"
    return versions
