"""What a scale costs: operations against torch's own count of the same algorithm, rates, sums."""

from __future__ import annotations

import dataclasses

import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench import data
from bench.config import registry
from bench.contract.seeds import seeded
from bench.paper import cost
from bench.paper import plan as plans
from bench.results.record import Record
from tests.builders import images, trainer
from tests.fabricate import record


def counted(model, shape=(3, 32, 32), **settings):
    factory = registry.factory(model)
    return cost.gflop(model, factory, factory.Config(updates=10, **settings), shape)


class Counter(TorchDispatchMode):
    """Operations by torch's own formulas, of whatever is called inside."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=made)
        return made


@pytest.mark.parametrize("steps", [3, 6])
def test_a_chain_costs_what_torch_counts_of_the_published_one(steps):
    """The same algorithm by autograd, whose kernels have formulas; learning needs no gradient of the images."""
    shape, settings = (3, 32, 32), {"n_f": 8, "steps": steps, "batch_size": 4}
    with Counter() as counter:
        trainer("published", shape, **settings).step(images(4, shape), seeded("u"))
    assert counted("ebm", **settings) * 1e9 == pytest.approx(counter.total, rel=0.03)
    assert counter.total <= counted("ebm", **settings) * 1e9


def test_a_product_is_two_operations():
    """VAE at side 8, width 1, latent 1: 4x4 kernels to 1 and 2 channels, 2x2 to the latents, and their mirror image."""
    encoder, decoder = [16 * 16, 16 * 2 * 4, 4 * 2 * 2], [4 * 2, 4 * 16 * 2, 16 * 16]  # products of an image
    found = counted("vae", (1, 8, 8), width=1, latent=1, batch_size=2) * 1e9
    once_less = encoder[0]  # no gradient with respect to images
    assert found == 2 * 2 * (3 * (sum(encoder) + sum(decoder)) - once_less)


@pytest.mark.parametrize("model", ["ebm", "dcgan", "flow"])
def test_operations_grow_as_the_batch_does(model):
    one, three = (counted(model, (1, 8, 8), batch_size=n) for n in (8, 24))
    assert three == pytest.approx(3 * one)


def test_shapes_are_those_of_the_data_sets():
    for name, (_, side, _) in cost.SHAPES.items():
        assert data._source(name).sides[0] == side


def test_each_cell_is_counted_once_and_days_are_operations_by_rate():
    plan = plans.load("smoke")
    rows = cost.rows_of(plan)
    assert sum(row.cells for row in rows) == sum(
        len(one.datasets) * len(one.models) * len(one.seeds) for one in plan.runs()
    )
    first = rows[0]
    rates = {row.cell.model: 2.0 for row in rows}
    assert first.days(rates) == pytest.approx(first.gflop * first.cell.config.updates / 2.0 / 86400)
    assert first.days({}) is None
    found = cost.table(rows, rates, "x")
    assert len(found.rows) == len(rows) + 1
    days = sum(row.days(rates) * row.cells for row in rows)
    assert found.rows[-1][-1].text == f"{days:,.1f}"


def test_a_rate_is_operations_by_seconds():
    own = record("digits", "ebm", 0, seconds=10.0)
    factory = registry.factory("ebm")
    config = factory.Config(updates=100, n_f=4, steps=3)
    own["config"]["model"] = {"factory": "ebm", **dataclasses.asdict(config)}
    own["training"] |= {"updates": 100, "seconds": 10.0}
    slower = {**own, "training": own["training"] | {"seconds": 20.0}}
    (rate,) = cost.rates_of([Record("a", own), Record("b", slower)]).values()
    assert rate == pytest.approx(10 * cost.gflop("ebm", factory, config, (1, 8, 8)))


def test_the_command(capsys):
    assert cost.main(["--scale", "smoke", "--gflops", "100"]) == 0
    assert "GFLOP/s: " in capsys.readouterr().out
    assert cost.main(["--scale", "smoke", "--gflops", "0"]) == 2
    assert "--gflops 0 is out of range" in capsys.readouterr().err
