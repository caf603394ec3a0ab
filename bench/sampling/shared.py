"""Blocks of samples shared out: this process and its helpers each draw the next one that nobody has begun.

A block is a function of the weights and its number, so who draws it changes nothing. Whatever becomes of a helper, this
process can draw every block itself.
"""

from __future__ import annotations

import contextlib
import heapq
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.errors import DivergedError, UserError, one_line
from bench.sampling.blocks import Block, Sampler, draw

AHEAD = 4  # blocks for each process that may be there before their turn
PATIENCE = 10.0  # seconds for a helper's thread to see that the helper has ended

Untrained = Callable[[torch.device], GenerativeModel]  # makes a model with its first weights on a device


class Workers(Protocol):
    """How many processes draw samples, and where."""

    @property
    def workers(self) -> int:
        """All of them, the one that asks among them."""

    def opened(self, untrained: Untrained, model: GenerativeModel) -> contextlib.AbstractContextManager[Sampler]:
        """Who draws the samples of `model`. `untrained`, which must be picklable, makes it anew elsewhere.

        Other processes live at most as long as the context, and each has as many threads as this one.
        """


class Lost(Exception):  # noqa: N818 - what became of a helper
    """A helper that draws no more; the text says why."""


class Helper(Protocol):
    """Another process that draws blocks, asked by one thread of this one."""

    def prepare(self) -> None:
        """Wait until it has the model. Raises Lost."""

    def draw(self, block: Block) -> Tensor | None:
        """What `bench.sampling.blocks.draw` gives; None for samples that are refused. Raises Lost."""

    def end(self) -> None:
        """End it at once, whatever it does; `prepare` and `draw` then raise Lost."""


class _Round:
    """What was asked for by one call, and how far it is."""

    def __init__(self, blocks: Sequence[Block]):
        self.blocks = blocks
        self.free = list(range(len(blocks)))  # a heap: what nobody has begun
        self.refused: set[int] = set()  # what raises an error, at its turn
        self.made: dict[int, Tensor] = {}
        self.turn = 0  # the block that is handed over next


class Shared:
    """A `Sampler` with helpers, which are started when it is first used."""

    def __init__(self, start: Callable[[int], Helper], helpers: int):
        """`start` starts the helper of a number, from 0; it may raise Lost."""
        self._start, self._wanted = start, helpers
        self._ahead = AHEAD * (helpers + 1)
        self._helpers: list[Helper] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()  # guards what follows
        self._round = _Round([])
        self._ending = False

    def __call__(self, model: GenerativeModel, blocks: Sequence[Block]) -> Iterator[Tensor]:
        """As `Sampler`. An error comes when its block's turn does, as if all blocks were drawn here in order."""
        self._staff(min(self._wanted, len(blocks) - 1))
        own = _Round(blocks)
        with self._changed:
            self._round = own
            self._changed.notify_all()
        try:
            for index in range(len(blocks)):
                while (mine := self._to_draw_here(own)) is not None:
                    try:
                        self._put(own, mine, draw(model, blocks[mine]))
                    except (DivergedError, UserError):
                        if mine == index:
                            raise
                        self._put(own, mine, None)
                with self._changed:
                    made = own.made.pop(index)
                    own.turn += 1
                    self._changed.notify_all()
                yield made
        finally:
            with self._changed:
                own.free.clear()
                own.made.clear()

    def end(self) -> None:
        """End the helpers, whatever they do."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        for helper in self._helpers:
            helper.end()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _staff(self, helpers: int) -> None:
        while len(self._helpers) < helpers:
            try:
                helper = self._start(len(self._helpers))
            except Lost as error:
                self._wanted = len(self._helpers)
                _tell(error)
                return
            self._helpers.append(helper)
            self._threads.append(threading.Thread(target=self._serve, args=(helper,), daemon=True))
            self._threads[-1].start()

    def _serve(self, helper: Helper) -> None:
        """Have a helper draw until there is no more to do, or it is lost; in a thread of its own."""
        try:
            helper.prepare()
            while (taken := self._to_draw_elsewhere()) is not None:
                own, index = taken
                try:
                    made = helper.draw(own.blocks[index])
                except Exception:
                    with self._changed:
                        heapq.heappush(own.free, index)
                        self._changed.notify_all()
                    raise
                self._put(own, index, made)
        except Exception as error:  # of any kind: a block that nobody draws would be waited for without end
            if not self._ending:
                _tell(error)

    def _to_draw_here(self, own: _Round) -> int | None:
        """A block that is free, or refused when its turn has come; None once the block whose turn it is is there."""
        with self._changed:
            while own.turn not in own.made:
                if own.turn in own.refused:
                    return own.turn
                if self._is_near(own):
                    return heapq.heappop(own.free)
                self._changed.wait()
        return None

    def _to_draw_elsewhere(self) -> tuple[_Round, int] | None:
        """A block of the present round; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._is_near(self._round))
            return None if self._ending else (self._round, heapq.heappop(self._round.free))

    def _is_near(self, own: _Round) -> bool:
        """Whether there is a free block, and not too many are kept that came before their turn."""
        return bool(own.free) and own.free[0] < own.turn + self._ahead

    def _put(self, own: _Round, index: int, made: Tensor | None) -> None:
        with self._changed:
            if made is None:
                own.refused.add(index)
            elif own is self._round:
                own.made[index] = made
            self._changed.notify_all()


def _tell(error: Exception) -> None:
    why = str(error) if isinstance(error, Lost) else one_line(f"{type(error).__name__}: {error}")
    print(f"a sampling worker was lost ({why}): its samples are drawn by the others", file=sys.stderr, flush=True)


@contextlib.contextmanager
def shared(start: Callable[[int], Helper], helpers: int) -> Iterator[Sampler]:
    """Inside the block, samples are drawn by this process and as many helpers; at its end they are ended."""
    one = Shared(start, helpers)
    try:
        yield one
    finally:
        one.end()
