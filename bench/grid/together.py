"""One cell after another by all ranks that torchrun has started: rank 0 runs the program, the others its updates.

Every rank has all weights and draws all random numbers. It runs the chains of its own images, receives the ends of all
others, and learns from all of them: so weights stay equal without being sent, and noise is that of one process.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench.contract.model import Trainer
from bench.contract.shares import Rows
from bench.data import ImageData
from bench.errors import DivergedError, UserError
from bench.grid.batches import Batches
from bench.grid.cell import Cell
from bench.grid.crew import Crew
from bench.grid.run_state import RunState
from bench.grid.training import one_update
from bench.machine import ranks, runtime, signals
from bench.machine.ranks import Group, PartedError
from bench.scoring.setup import Setup

STOP, UPDATE, CHECK = range(3)  # what rank 0 asks of the others within a training
_WHOLE_NUMBERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their bytes


def refuse(cell: Cell, trainer: Trainer, device: torch.device) -> None:
    """UserError where the ranks that torchrun has started cannot train this cell together."""
    n = ranks.count()
    if not hasattr(trainer, "share"):
        raise UserError(
            f"{cell.model} shares no update among ranks: run it without torchrun, several cells at once with --jobs"
        )
    if cell.config.batch_size < n:
        raise UserError(
            f"{cell.model}.batch_size={cell.config.batch_size} is too small for {n} ranks: give each rank an image"
        )
    here = ranks.on_this_machine()
    if device.type == "cuda" and here > (gpus := torch.cuda.device_count()):
        raise UserError(f"{here} ranks on a machine with {gpus} GPUs: start one for each, with --nproc-per-node {gpus}")


def over_ranks(program: Callable[[Leader], int]) -> int:
    """The exit status of `program`, which rank 0 alone runs; on the other ranks 0, once it has ended."""
    with ranks.joined() as group:
        if group.rank:
            signals.ignore()  # torchrun sends them to every rank: rank 0 saves, and lets the others end
            follow(group)
            return 0
        leader = Leader(group)
        try:
            return program(leader)
        finally:
            leader.dismiss()


@dataclass(frozen=True)
class Job:
    """A training as rank 0 tells of it."""

    cell: Cell
    setup: Setup
    content_hash: str  # of the images
    done: int = 0  # updates
    state: bytes = b""  # of the trainer after them; nothing for a new one


class Leader:
    """Rank 0 of a group, from its first cell to its last."""

    def __init__(self, group: Group):
        self.group = group
        self.in_step = True  # False within what all do together: the others wait there, and can be told nothing

    def crew(self, cell: Cell, setup: Setup, content_hash: str) -> Crew:
        """All ranks, for one cell and the images of `content_hash`."""
        return _Led(self, Job(cell, replace(setup, progress=False), content_hash))

    def dismiss(self) -> None:
        """Let the other ranks end."""
        if self.in_step:
            with contextlib.suppress(PartedError):
                self.group.message(None)


class _Led(Crew):
    """All ranks, in one training, led by this one."""

    def __init__(self, leader: Leader, job: Job):
        self.leader, self.group, self.job = leader, leader.group, job

    @contextlib.contextmanager
    def training(self, trainer: Trainer, done: int) -> Iterator[None]:
        trainer.share = GroupShare(self.group)
        with self._together():
            state = _packed(trainer.state_dict()) if done else b""
            self.group.message(replace(self.job, done=done, state=state))
            sums = self.group.gather(weights_sum(trainer))  # also waits until all have their images
        try:
            _refuse_different(sums, done)
            yield
        finally:
            if self.leader.in_step:
                with contextlib.suppress(PartedError):  # it must not hide why the training ended
                    self.group.number(STOP)

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        with self._together(), _memory_or_parted():
            self.group.number(UPDATE)
            yield

    def check(self, trainer: Trainer, done: int) -> None:
        with self._together():
            self.group.number(CHECK)
            sums = self.group.gather(weights_sum(trainer))
        _refuse_different(sums, done)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        self.leader.in_step = False
        try:
            yield
        except DivergedError:  # in an update, and then on every rank: all of them see all chains
            self.leader.in_step = True
            raise
        self.leader.in_step = True


def _refuse_different(sums: Tensor, done: int) -> None:
    """UserError where a rank's `weights_sum` after `done` updates is not that of rank 0."""
    different = (sums != sums[0]).nonzero()
    if len(different):
        raise UserError(
            f"after {done} updates rank {int(different[0])} has other weights than rank 0: ranks must run on "
            "processors or GPUs of one kind; the same command continues from the last checkpoint, at which all agreed"
        )


def follow(group: Group) -> None:
    """Make every update that rank 0 makes, of one cell after another; nothing is written and nothing is said.

    Raises PartedError when rank 0 goes without a word, and UserError where this rank has other images than it.
    """
    images: dict[str, ImageData] = {}  # of the latest data set, by content
    while (job := group.message()) is not None:
        device = job.setup.configure()
        if job.content_hash not in images:
            found = job.setup.images(job.cell.source, job.cell.data)
            if found.content_hash != job.content_hash:
                raise UserError(f"rank {group.rank} has other images called {found.name!r} than rank 0: copy them here")
            images = {job.content_hash: found}
        _follow(job, images[job.content_hash], group, device)


def _follow(job: Job, images: ImageData, group: Group, device: torch.device) -> None:
    cell = job.cell
    trainer = cell.new_trainer(images.image_shape, device)
    if job.state:
        trainer.load_state_dict(_unpacked(job.state))
    trainer.share = GroupShare(group)
    group.gather(weights_sum(trainer))
    run = RunState(job.done, 0.0, [], {})
    batches = Batches(images.train.to(device), cell.config.batch_size, cell.seed, flip=cell.data.flip)
    while (asked := group.number()) != STOP:
        if asked == CHECK:
            group.gather(weights_sum(trainer))
            continue
        with contextlib.suppress(DivergedError), _memory_or_parted():  # rank 0 diverges as well, and stops
            one_update(trainer, batches, run, cell.seed, lambda: 0.0, cell.training.precision)


class GroupShare:
    """A rank's share of a batch, which differ by an image at most; see `bench.contract.shares.Share`."""

    def __init__(self, group: Group):
        self.group = group

    def rows(self, n: int) -> Rows:
        return self._rows(n, self.group.rank)

    def _rows(self, n: int, rank: int) -> Rows:
        each, more = divmod(n, self.group.count)
        first = rank * each + min(rank, more)
        return Rows(first, first + each + (rank < more), n)

    def gathered(self, own: Tensor, means: Tensor, rows: Rows | None) -> tuple[Tensor, Tensor]:
        """By one exchange: every rank sends its images, filled up to the longest share, and its means behind them."""
        n = rows.of if rows else len(own)
        sizes = [one.end - one.first for one in (self._rows(n, rank) for rank in range(self.group.count))]
        (c, h, w), most = own.shape[1:], sizes[0]
        numbers = most * c * h * w
        sent = own.new_zeros(numbers + len(means))
        sent[: own.numel()] = own.permute(0, 2, 3, 1).reshape(-1)  # as chains lie in memory
        sent[numbers:] = means
        found = self.group.gather(sent)
        batch = torch.cat([one[:numbers].view(most, h, w, c)[:size] for one, size in zip(found, sizes, strict=True)])
        weighted = [one[numbers:] * (size / n) for one, size in zip(found, sizes, strict=True)]
        return batch.permute(0, 3, 1, 2), torch.stack(weighted).sum(0).to(means.dtype)


@contextlib.contextmanager
def _memory_or_parted() -> Iterator[None]:
    """A lack of memory within an update ends all ranks, as the others wait there for this one: PartedError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not runtime.is_out_of_memory(error):
            raise
        raise PartedError(runtime.out_of_memory(error)) from error


def weights_sum(trainer: Trainer) -> Tensor:
    """The sum of all weights, their bits read as whole numbers: another one where a bit of one weight is another."""
    weights = [p.detach() for net in trainer.networks for p in net.parameters()]
    return torch.stack([p.view(_WHOLE_NUMBERS[p.element_size()]).sum() for p in weights]).sum().cpu()


def _packed(state: dict[str, Any]) -> bytes:
    """A trainer's state as it can be sent."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def _unpacked(data: bytes) -> dict[str, Any]:
    """The state, its tensors on the CPU."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
