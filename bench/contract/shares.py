"""One update by several processes: which chains of its batch each of them runs, and how it has those of all others.

A trainer that can share its updates has an attribute `share`, `WHOLE` at first, which the harness sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Some images of a batch, one after another."""

    first: int
    end: int  # the first one that is no longer among them
    of: int  # images of the batch


def cut(batch: Tensor, rows: Rows | None) -> Tensor:
    """The rows (end - first, ...) of a batch (n, ...), as a view; None: all of them."""
    return batch if rows is None else batch[rows.first : rows.end]


class Share(Protocol):
    """What one process computes of a batch."""

    def rows(self, n: int) -> Rows | None:
        """The images of this process in a batch of `n`; None: all of them."""
        ...

    def gathered(self, own: Tensor, means: Tensor, rows: Rows | None) -> tuple[Tensor, Tensor]:
        """The images (n, C, H, W) of all processes in the batch's order, from those of `rows`, and means (k,) over
        them, from the means over those of `rows`: the same numbers in every process. Nothing waits for a GPU.
        """
        ...


class _Whole:
    """The share of a process that works alone."""

    def rows(self, n: int) -> Rows | None:
        return None

    def gathered(self, own: Tensor, means: Tensor, rows: Rows | None) -> tuple[Tensor, Tensor]:
        return own, means


WHOLE: Share = _Whole()
