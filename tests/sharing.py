"""What tests of shared sampling need: models on their way, and helpers that are given the time to take part."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from unittest import mock

import torch

from bench.contract.seeds import BLOCK, seeded
from bench.sampling import actors, shared
from bench.sampling.actors import Actors
from bench.sampling.blocks import Block
from bench.sampling.shared import Shared
from bench.scoring import models
from tests.builders import trainer
from tests.faults.processes import PATIENCE

N = 5 * BLOCK + 3
SIX = Block.all_of(N, 7)


def trained(name):
    """A model whose weights are no longer its first ones, and what makes it anew."""
    one = trainer(name, seed=3)
    one.step(torch.rand(8, 1, 8, 8, generator=seeded("batch")) * 2 - 1, seeded("step"))
    return one.model, partial(models.untrained, name, asdict(one.config), (1, 8, 8), 3)


def drawn(by, model, asked=SIX):
    with torch.no_grad():
        return torch.cat(list(by(model, asked)))


@contextmanager
def first_waits(wanted: int) -> Iterator[threading.Event]:
    """This process finishes the first block it draws only when helpers have drawn `wanted` others.

    The event can be set to let it go on without them.
    """
    draw, put, enough = shared.draw, Shared._put, threading.Event()

    def patient(model, block):
        assert enough.wait(PATIENCE)
        return draw(model, block)

    def counted(self, own, index, made):
        put(self, own, index, made)
        if len(own.made) + len(own.refused) >= wanted:
            enough.set()

    with mock.patch.object(shared, "draw", patient), mock.patch.object(Shared, "_put", counted):
        yield enough


def drawn_on_ray(name: str, workers: int):
    """In a task of Ray's: the samples of `SIX`, all but the first drawn by helpers, and how many those drew."""
    torch.set_num_threads(1)
    model, untrained = trained(name)
    draw, asked = actors._Asked.draw, []

    def counted(self, block):
        asked.append(block.index)
        return draw(self, block)

    with (
        mock.patch.object(actors._Asked, "draw", counted),
        first_waits(5),
        Actors(workers).opened(untrained, model) as by,
    ):
        return drawn(by, model).numpy(), len(asked)
