"""The processes (ranks) that torchrun has started for one run: how many, which one this is, and how they talk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, one_line

if TYPE_CHECKING:
    from torch import Tensor  # a program that is no rank asks for the number alone, and may not need torch

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # torchrun sets them all
PATIENCE = timedelta(days=30)  # the others wait as long as rank 0 evaluates


class PartedError(UserError):
    """A rank has gone, or has left the others within an update: no rank can go on."""

    def __init__(self, why: object):
        super().__init__(
            f"rank {rank()} of {count()} cannot go on: {one_line(why)}; the same command continues from the last "
            "checkpoint"
        )


def count() -> int:
    """The number of ranks; 1 in a process that torchrun has not started."""
    started = all(os.environ.get(name, "").isdecimal() for name in VARIABLES)
    return int(os.environ["WORLD_SIZE"]) if started else 1


def rank() -> int:
    """The number of this process among the ranks, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def on_this_machine() -> int:
    """The ranks on this machine, of which each needs a GPU of its own where there are any."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or count())


class Group:
    """The ranks that have joined. Every call waits for the others' same call; PartedError where one has gone."""

    def __init__(self) -> None:
        self.rank, self.count = rank(), count()

    def gather(self, own: Tensor) -> Tensor:
        """The tensors of all ranks, which have one shape and type: (count, *shape)."""
        import torch.distributed as dist

        found = own.new_empty(self.count, own.numel())
        with _in_touch():
            dist.all_gather(list(found), own.reshape(-1))
        return found.view(self.count, *own.shape)

    def number(self, own: int = 0) -> int:
        """The number that rank 0 gives."""
        import torch
        import torch.distributed as dist

        given = torch.tensor(own)
        with _in_touch():
            dist.broadcast(given, src=0)
        return int(given)

    def message(self, own: Any = None) -> Any:
        """The object that rank 0 gives; it is pickled."""
        import torch.distributed as dist

        given = [own]
        with _in_touch():
            dist.broadcast_object_list(given, src=0)
        return given[0]


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """Meet the other ranks, this one with the GPU of its number where there is one.

    At the end of the block they part; after an error in it they do not, as that may have to wait for a rank that hangs.
    """
    import torch
    import torch.distributed as dist

    backend, local = "gloo", int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available() and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
        if local < torch.cuda.device_count():
            torch.cuda.set_device(local)
    dist.init_process_group(backend, timeout=PATIENCE)
    yield Group()
    dist.destroy_process_group()


@contextlib.contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo and NCCL raise
        raise PartedError(f"another rank has gone ({str(error).partition(chr(10))[0]})") from error
