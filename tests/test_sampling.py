"""Samples drawn by several processes: the same bytes and scores for any number of them, whatever happens to one."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import threading

import pytest
import torch

from bench import evaluate
from bench.config import registry
from bench.config.commandline import check_sampling
from bench.contract import seeds
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.errors import NotFiniteError
from bench.machine import signals
from bench.sampling import blocks, packed, processes, shared
from bench.sampling.blocks import Block
from bench.sampling.processes import Processes
from bench.sampling.shared import Lost
from tests import evaluation_builders as builders
from tests.commands import refusal
from tests.evaluation_builders import Scaled
from tests.faults.processes import PATIENCE
from tests.sharing import SIX, N, drawn, first_waits, trained
from tests.test_faults import linux

OWN = "tests.faults.own_models:Plain"  # a factory that is not the suite's


def test_blocks_are_those_of_all_draws():
    model = Scaled(0.5)
    whole = torch.cat(list(in_blocks(model.sample, N, 7, "sample")))
    assert len(whole) == N
    backwards = [seeds.block(model.sample, N, index, 7, "sample") for index in reversed(seeds.blocks_of(N))]
    assert torch.equal(torch.cat(backwards[::-1]), whole)
    assert torch.equal(drawn(blocks.here, model), whole.add(1).mul(127.5).round().to(torch.uint8))


@pytest.mark.parametrize("name", [*registry.MODELS, OWN])
def test_a_model_on_its_way_draws_the_same_bytes(name):
    model, untrained = trained(name)
    drawer = packed.Drawer(packed.pack(untrained, model), "cpu")
    for block in (Block(N, 7, 2), Block(N, 7, 5, 2.0), Block(N, 7, 5)):
        at = model if block.factor is None else model.at_compute(block.factor)
        if at is not None:
            with torch.no_grad():
                assert torch.equal(packed.opened(drawer.answer(block)), blocks.draw(at, block))


def test_what_another_process_answers_when_a_block_fails():
    """An error of the samples is met again here, at its turn; any other one takes the helper out."""
    drawer = packed.Drawer(packed.pack(trained(OWN)[1], trained(OWN)[0]), "cpu")

    def broken(error):
        def sample(n, generator):
            raise error

        return sample

    drawer._model.sample = broken(NotFiniteError("not finite"))
    assert packed.opened(drawer.answer(SIX[0])) is None
    drawer._model.sample = broken(torch.OutOfMemoryError("tried to allocate 20.00 GiB\nand a second line"))
    with pytest.raises(Lost, match=r"^OutOfMemoryError: tried to allocate 20\.00 GiB and a second line$"):
        packed.opened(drawer.answer(SIX[0]))
    drawer._model.sample = lambda n, generator: torch.zeros(n, 1, 4, 4)
    assert packed.opened(drawer.answer(SIX[0])) is None


# Helpers without processes: what is shared out, and what becomes of it


class Drawing:
    """A helper that draws at once, and may be lost or refuse."""

    def __init__(self, model, *, lost_at=None, error=None, refused=()):
        self.model, self.lost_at, self.error, self.refused = model, lost_at, error, refused
        self.done, self.ended = [], False

    def prepare(self):
        if self.lost_at == 0:
            raise self.error

    def draw(self, block):
        self.done.append(block.index)
        if len(self.done) == self.lost_at:
            raise self.error
        with torch.no_grad():
            return None if block.index in self.refused else blocks.draw(self.model, block)

    def end(self):
        self.ended = True


@contextlib.contextmanager
def sharing(*helpers):
    """A `Shared` with these helpers."""
    with shared.shared(lambda number: helpers[number], len(helpers)) as by:
        yield by


def test_helpers_draw_and_blocks_come_in_order():
    model = Scaled(0.5)
    one, other = Drawing(model), Drawing(model)
    with first_waits(5), sharing(one, other) as by:
        assert torch.equal(drawn(by, model), drawn(blocks.here, model))
        assert sorted(one.done + other.done) == [1, 2, 3, 4, 5]
        again = Block.all_of(2 * BLOCK, 8)
        assert torch.equal(drawn(by, model, again), drawn(blocks.here, model, again))
    assert one.ended
    assert other.ended


def test_no_more_helpers_are_started_than_there_is_work_for():
    model, started = Scaled(0.5), []
    with shared.shared(lambda number: started.append(number) or Drawing(model), 5) as by:
        assert not started
        drawn(by, model, Block.all_of(BLOCK, 7))
        assert not started
        drawn(by, model, Block.all_of(3 * BLOCK, 7))
        assert started == [0, 1]


@pytest.mark.parametrize(
    ("lost_at", "error", "why"),
    [
        (0, Lost("no memory"), "no memory"),
        (1, Lost("killed"), "killed"),
        (2, Lost("killed"), "killed"),
        (1, EOFError("an answer\nthat cannot be read"), "EOFError: an answer that cannot be read"),
    ],
)
def test_what_a_lost_helper_was_at_is_drawn_by_another(lost_at, error, why, monkeypatch, capfd):
    model, tell = Scaled(0.5), shared._tell
    helper = Drawing(model, lost_at=lost_at, error=error)
    with first_waits(len(SIX)) as enough, sharing(helper) as by:
        monkeypatch.setattr(shared, "_tell", lambda error: tell(error) or enough.set())
        assert torch.equal(drawn(by, model), drawn(blocks.here, model))
    assert len(helper.done) == lost_at
    assert f"a sampling worker was lost ({why}): its samples are drawn by the others\n" in capfd.readouterr().err


def test_where_none_can_be_started_this_process_draws_all(capfd):
    model = Scaled(0.5)

    def start(number):
        raise Lost("it cannot be started: too many processes")

    with shared.shared(start, 2) as by:
        assert torch.equal(drawn(by, model), drawn(blocks.here, model))
    assert "cannot be started" in capfd.readouterr().err


class Bad(Scaled):
    """Samples of some blocks are not finite, each with its own message."""

    def __init__(self, *bad):
        super().__init__(0.5)
        self.bad = {seeded(7, "sample", index).initial_seed(): index for index in bad}

    def sample(self, n, generator):
        if (index := self.bad.get(generator.initial_seed())) is not None:
            raise NotFiniteError(f"block {index}")
        return super().sample(n, generator)


def test_an_error_comes_at_its_turn_whoever_meets_it():
    """As without helpers: the blocks before it, then the error of the first bad block; then another round is whole."""
    model = Bad(2, 4)
    with first_waits(3), sharing(Drawing(Scaled(0.5), refused=(2, 4))) as by:
        asked = by(model, SIX)
        with torch.no_grad():
            assert torch.equal(torch.cat([next(asked), next(asked)]), drawn(blocks.here, model, SIX[:2]))
            with pytest.raises(NotFiniteError, match="block 2"):
                next(asked)
        fine = Block.all_of(N, 8)
        assert torch.equal(drawn(by, model, fine), drawn(blocks.here, model, fine))


def test_few_blocks_are_kept_before_their_turn():
    model, helper = Scaled(0.5), Drawing(Scaled(0.5))
    ahead = 2 * shared.AHEAD
    asked = Block.all_of(40 * BLOCK, 7)
    with first_waits(ahead - 1), sharing(helper) as by:
        got = by(model, asked)
        with torch.no_grad():
            next(got)
        assert max(helper.done) <= ahead  # one more, as the first has been handed over
        got.close()
        assert torch.equal(drawn(by, model), drawn(blocks.here, model))


# Processes


@pytest.fixture
def each_helper_draws(monkeypatch):
    """Every helper that is started has a block before any of them begins its first."""

    def of(helpers):
        together, real, begun = threading.Barrier(helpers), processes._Process.draw, set()

        def draw(self, block):
            if self not in begun:
                begun.add(self)
                together.wait(PATIENCE)
            return real(self, block)

        monkeypatch.setattr(processes._Process, "draw", draw)
        return begun

    return of


@pytest.mark.parametrize(("name", "workers"), [(OWN, 2), ("ebm", 3)])
def test_any_number_of_workers_gives_the_same_samples_and_scores(each_helper_draws, name, workers):
    model, untrained = trained(name)
    evaluator = builders.evaluator(samples=N, sweep=(0.5, 2.0), sweep_samples=2 * BLOCK + 1)
    expected = evaluator.evaluate(model, (7, 8))
    samples = drawn(blocks.here, model)
    begun = each_helper_draws(workers - 1)
    with first_waits(5), Processes(workers).opened(untrained, model) as by:
        assert torch.equal(drawn(by, model), samples)
        assert len(begun) == workers - 1
        found = evaluator.evaluate(model, (7, 8), sampling=lambda: contextlib.nullcontext(by))
    assert not multiprocessing.active_children()
    assert found.scores == expected.scores
    assert found.curves == expected.curves
    assert found.pictures.keys() == expected.pictures.keys()
    assert all(torch.equal(one.image, expected.pictures[key].image) for key, one in found.pictures.items())


@linux
def test_a_signal_ends_all_workers_at_once(monkeypatch, capfd):
    model, untrained = trained("ebm")
    monkeypatch.setattr(shared, "draw", lambda model, block: os.kill(os.getpid(), signal.SIGTERM) or signal.pause())
    with pytest.raises(signals.Interrupted), signals.handled(), Processes(3).opened(untrained, model) as by:
        drawn(by, model)
    assert not multiprocessing.active_children()
    assert "lost" not in capfd.readouterr().err


# The option


def options(**given):
    return argparse.Namespace(**{"sampling_workers": 2, "threads": 1, "jobs": 1, "engine": "local"} | given)


def test_more_workers_than_the_machine_has_cores_for_are_refused(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for fine in ({}, {"threads": 4}, {"threads": 8, "sampling_workers": 1}, {"jobs": 4, "threads": 4}):
        check_sampling(options(**fine))
    check_sampling(options(sampling_workers=100, engine="ray", threads=None))
    assert "--sampling-workers 0 is too few" in refusal(check_sampling, options(sampling_workers=0))
    assert "at most 8" in refusal(check_sampling, options(sampling_workers=9))
    assert "give at most 2" in refusal(check_sampling, options(sampling_workers=3, jobs=4, threads=4))
    assert "of 8 threads each" in refusal(check_sampling, options(threads=8))
    said = refusal(check_sampling, options(sampling_workers=2, jobs=2, threads=8))
    assert "for each of 2 jobs, of 4 threads each" in said
    assert "give --threads 4" in said
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "give --threads 4" in refusal(check_sampling, options(threads=None))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    check_sampling(options(threads=None))


def test_images_that_are_there_need_no_workers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(BLOCK):
        (folder / f"{index}.png").write_bytes(png())
    quick = ["--dataset", "digits", "--features", "tests.faults.own_extractor:Projection", "--quiet", "--device", "cpu"]
    arguments = [str(folder), *quick, "--threads", "1", "--sampling-workers", "2"]
    assert evaluate.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"bench.evaluate: --sampling-workers 2: {folder} is no model of the suite: drop")


def png() -> bytes:
    from bench.evaluation import Picture

    return Picture.of(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 1).png()
