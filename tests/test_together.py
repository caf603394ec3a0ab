"""One training by several processes: noise and gradients are those of one process, and no process is left waiting."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.compare import parser
from bench.config.commandline import check_engine, outcome
from bench.contract.seeds import seeded
from bench.contract.shares import Rows, cut
from bench.errors import DivergedError, UserError
from bench.grid import together
from bench.grid.crew import NOBODY
from bench.grid.request import plan
from bench.grid.together import GroupShare, Leader, weights_sum
from bench.machine import ranks
from bench.machine.ranks import Group, PartedError
from bench.report.content.captions import caption
from ebm.engine import graphs
from ebm.langevin import ChainSettings, langevin
from tests import ranks as processes
from tests.builders import energy_net, images, smoke_request, trainer
from tests.commands import refusal
from tests.fabricate import record, section_of
from tests.pretend_cuda import CUDA, pretended
from tests.test_faults import linux

MODELS = ("ebm", "ebm-residual", "ebm-multigrid")


class Silent(Group):
    """A group of two whose other rank answers at once, with weights that differ by `off`."""

    def __init__(self, off: int = 0):
        self.rank, self.count, self.off, self.told = 0, 2, off, []

    def gather(self, own):
        return torch.stack([own, own + self.off])

    def number(self, own=0):
        self.told.append(own)
        return own

    def message(self, own=None):
        self.told.append(own)
        return own


# Shares


@given(n=st.integers(2, 70), count=st.integers(2, 9))
def test_shares_are_the_batch_in_order(n, count):
    group = Silent()
    group.count = count
    shares = [GroupShare(group)._rows(n, rank) for rank in range(count)]
    assert [i for one in shares for i in range(one.first, one.end)] == list(range(n))
    sizes = [one.end - one.first for one in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_chain_has_the_noise_of_its_place_in_the_batch(channels):
    """Of a flat energy the chain is its start and its noise, and both are exact."""

    def flat(x):
        return 0 * x.flatten(1).sum(1)

    x, settings = images(7, (channels, 8, 8)), ChainSettings(3, 1.0, 0.5)
    generators = [seeded("n") for _ in range(3)]
    whole = langevin(flat, x, settings, generator=generators[0])
    rows = [Rows(0, 4, 7), Rows(4, 7, 7)]
    ends = [
        langevin(flat, cut(x, one), replace(settings, rows=one), generator=generator)
        for one, generator in zip(rows, generators[1:], strict=True)
    ]
    assert torch.equal(torch.cat(ends), whole)
    assert all(torch.equal(one.get_state(), generators[0].get_state()) for one in generators)
    with pytest.raises(ValueError, match="a chain of 7 images cannot be"):
        langevin(flat, x, replace(settings, rows=rows[0]), generator=seeded("n"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a real one")
def test_a_captured_chain_has_it_too():
    with pretended():
        net, x, settings = energy_net("plain", 1, 8).to(CUDA), images(6).to(CUDA), ChainSettings(3, 1.0, 0.1)
        whole = langevin(net, x, settings, generator=seeded("n", device=CUDA), observe=lambda *_: None)
        for rows in (Rows(0, 3, 6), Rows(3, 6, 6)):
            for _ in range(2):  # captured, and replayed
                own, generator = replace(settings, rows=rows), seeded("n", device=CUDA)
                end = langevin(net, cut(x, rows), own, generator=generator)
                torch.testing.assert_close(end.cpu(), cut(whole, rows).cpu())
        assert len(graphs._graphs[net]) == 2


def updates(out):
    """Three updates of every model in float64, by all ranks: the first one's gradients, the weights, the logs."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    found = {}
    with ranks.joined() if ranks.count() > 1 else contextlib.nullcontext() as group:
        for name in MODELS:
            one = trainer(name, batch_size=8, ema=0.5, energy_penalty=0.1)
            if group:
                one.share = GroupShare(group)
            logs, gradients = [], []
            for update in range(3):
                logs.append(one.step(images(8, seed=update), seeded("update", update)))
                gradients.append([p.grad.clone() for net in one.networks for p in net.parameters()])
            weights = [p.detach() for net in (*one.networks, one.model) for p in net.parameters()]
            found[name] = {"gradients": gradients[0], "weights": weights, "logs": logs}
    torch.save(found, out / f"{ranks.count()}-{ranks.rank()}")


@linux
def test_gradients_weights_and_logs_are_those_of_one_process(tmp_path):
    """With two ranks of four images, and with three of 3, 3 and 2; among ranks they are the same bit for bit."""
    for n in (1, 2, 3):
        processes.run(n, updates, tmp_path)
    alone = torch.load(tmp_path / "1-0", weights_only=True)
    for n in (2, 3):
        first, *others = [torch.load(tmp_path / f"{n}-{rank}", weights_only=True) for rank in range(n)]
        for name in MODELS:
            assert alone[name]["gradients"][0].dtype == torch.float64
            for what in ("gradients", "weights"):
                torch.testing.assert_close(first[name][what], alone[name][what], rtol=1e-11, atol=1e-12)
                for other in others:
                    assert all(map(torch.equal, other[name][what], first[name][what]))
            for log, expected in zip(first[name]["logs"], alone[name]["logs"], strict=True):
                assert log == pytest.approx(expected, rel=1e-5, abs=1e-9)  # it is float32
            assert all(other[name]["logs"] == first[name]["logs"] for other in others)


# Leading


def test_ranks_that_differ_are_found():
    one = trainer("ebm")
    with pytest.raises(UserError, match="rank 1 has other weights"), Leader(Silent(off=1)).crew(*JOB).training(one, 0):
        pass
    with Leader(Silent()).crew(*JOB).training(one, 0):
        pass
    before = weights_sum(one)
    with torch.no_grad():
        next(one.learner.parameters()).view(-1)[0].mul_(1 + 2**-23)  # the last bit
    assert weights_sum(one) != before


def test_after_an_update_left_half_way_the_others_are_told_nothing():
    """They wait in it: what is told would be taken for a part of it. A divergence is everybody's."""
    for error, raised, told in (
        (DivergedError("chain"), DivergedError, [together.STOP, None]),
        (MemoryError(), PartedError, []),
        (KeyError("bug"), KeyError, []),
    ):
        leader = Leader(group := Silent())

        def half_way(crew, group=group, error=error):
            with crew.training(trainer("ebm"), 0), crew.updating():
                del group.told[:]
                raise error

        with pytest.raises(raised):
            half_way(leader.crew(*JOB))
        leader.dismiss()
        assert group.told == told


def test_a_rank_with_other_images_is_found(tmp_path):
    request = smoke_request(tmp_path)

    class Asked(Silent):
        def message(self, own=None):
            return together.Job(cell_of(tmp_path, "ebm"), request.setup, "0" * 64)

    assert refusal(together.follow, Asked()) == "rank 0 has other images called 'digits' than rank 0: copy them here"


def cell_of(out, model, **settings):
    return plan(replace(smoke_request(out, **settings), models=(model,)))[0]


JOB = (None, smoke_request("out").setup, "")  # a cell that nobody looks at


# Refusals


def test_what_ranks_cannot_do_is_refused(tmp_path, monkeypatch, capsys):
    for name, value in processes.environments(3)[0].items():
        monkeypatch.setenv(name, value)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for model in ("vae", "dcgan", "flow", "published"):
        said = refusal(together.refuse, cell_of(tmp_path, model), trainer(model), cpu)
        assert said.startswith(f"{model} shares no update among ranks")
    for model in MODELS:
        together.refuse(cell_of(tmp_path, model), trainer(model), cpu)
    few = cell_of(tmp_path, "ebm", ebm={"batch_size": 2})
    assert refusal(together.refuse, few, trainer("ebm"), cpu).startswith("ebm.batch_size=2 is too small for 3 ranks")
    said = refusal(together.refuse, cell_of(tmp_path, "ebm"), trainer("ebm"), cuda)
    assert said == "3 ranks on a machine with 2 GPUs: start one for each, with --nproc-per-node 2"
    for options in (["--jobs", "2"], ["--engine", "ray"]):
        said = refusal(check_engine, parser().parse_args(options))
        assert said.startswith(f"{' '.join(options)} does not go with torchrun")
    assert outcome("bench.tune", lambda: 0) == 2
    assert capsys.readouterr().err == "bench.tune: torchrun is for bench.compare alone: start this program without it\n"
    monkeypatch.setenv("RANK", "1")
    assert (outcome("bench.tune", lambda: 0), capsys.readouterr().err) == (2, "")


@pytest.mark.parametrize("missing", [None, *ranks.VARIABLES])
def test_a_process_that_torchrun_has_not_started_is_no_rank(missing, monkeypatch):
    for name, value in processes.environments(2)[1].items():
        monkeypatch.setenv(name, value)
    if missing:
        monkeypatch.delenv(missing)
    assert (ranks.count(), ranks.rank()) == ((1, 0) if missing else (2, 1))
    assert NOBODY.check(trainer("ebm"), 0) is None


def test_the_caption_says_it():
    alone, by_two = (record(model=model) for model in ("vae", "ebm"))
    by_two["environment"]["ranks"] = 2
    told = " ".join(caption(section_of(alone, by_two)))
    assert "Trained by 2 processes together, which made each update on that many processors or GPUs: ebm." in told
    assert "together, which made" not in " ".join(caption(section_of(alone)))
