"""The two ways a run can end badly: a mistake that the user can mend, and numbers that cannot be used; their words."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's: one line that says what was wrong, with the value, and the remedy (exit status 2)."""


class DivergedError(ValueError):
    """A training that came to nothing: the cell ends as `diverged`, and the rest of the grid goes on."""


class NotFiniteError(DivergedError):
    """Images or scalars that are not finite."""


def one_line(text: object, limit: int = 200) -> str:
    """`text` for a message: no line breaks, nothing that would steer a terminal, no longer than `limit`."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))
    return line if len(line) <= limit else line[: limit - 3] + "..."
