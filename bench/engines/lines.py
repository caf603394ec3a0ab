"""Standard error of another process, as whole lines, so that those of two processes do not mix."""

from __future__ import annotations

import io
from collections.abc import Callable


class Lines(io.TextIOBase):
    """A text stream that gives every whole line to `tell`."""

    def __init__(self, tell: Callable[[str], object]):
        self._tell, self._kept = tell, ""

    def write(self, text: str) -> int:
        *whole, self._kept = (self._kept + text).split("\n")
        for line in whole:
            self._tell(line)
        return len(text)

    def writable(self) -> bool:
        return True
