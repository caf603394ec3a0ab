"""Which images an update sees: a function of named keys and the update alone."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract.seeds import seeded

PAGE = 64  # updates whose images are drawn at once where there are fewer images than a batch takes


def updates_at_once(n: int, batch_size: int) -> int:
    """Updates whose images are decided together: those of an epoch, or of a page where no epoch fits."""
    return max(1, n // batch_size) if n >= batch_size else PAGE


def page_of_indices(n: int, batch_size: int, page: int, *keys: int | str) -> Tensor:
    """The images of the updates of one page (`updates_at_once`, batch_size), a row for each update.

    A page is an epoch, a permutation of all `n` images of which those left over at its end are dropped. Fewer images
    than a batch are drawn with replacement.
    """
    rows = updates_at_once(n, batch_size)
    if n < batch_size:
        draws = (seeded(*keys, "batch", page * rows + row) for row in range(rows))
        return torch.stack([torch.randint(n, (batch_size,), generator=generator) for generator in draws])
    order = torch.randperm(n, generator=seeded(*keys, "epoch", page))
    return order[: rows * batch_size].view(rows, batch_size)


def batch_indices(n: int, batch_size: int, update: int, *keys: int | str) -> Tensor:
    """The images (batch_size,) of one update."""
    page, row = divmod(update, updates_at_once(n, batch_size))
    return page_of_indices(n, batch_size, page, *keys)[row]


class Batches:
    """The batches of a run, one after another; a page's indices are drawn and taken to the images' device once."""

    def __init__(self, images: Tensor, batch_size: int, *keys: int | str, flip: bool):
        self.images, self.batch_size, self.keys, self.flip = images, batch_size, keys, flip
        self.rows = updates_at_once(len(images), batch_size)
        self.page, self.indices = -1, torch.empty(0)

    def __call__(self, update: int) -> Tensor:
        """The images (batch_size, C, H, W) of `update`, as they are kept; with `flip`, about half of them mirrored."""
        page, row = divmod(update, self.rows)
        if page != self.page:
            indices = page_of_indices(len(self.images), self.batch_size, page, *self.keys)
            self.page, self.indices = page, indices.to(self.images.device)
        found = self.images[self.indices[row]]
        return mirrored(found, seeded(*self.keys, "flip", update)) if self.flip else found


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images (n, C, H, W), each with its columns reversed with probability one half."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(-1), images)
