"""The pretended CUDA device catches what it is there for; `tests/test_cuda_paths.py` runs the project on it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.contract.seeds import seeded, seeded_init
from ebm.engine import graphs
from tests.pretend_cuda import CUDA, ForbiddenError, Graph, pretended

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a real one: tests/gpu")


@pytest.fixture
def device():
    with pretended() as one:
        yield one


def captured(function):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = function()
    return graph, made


def test_numbers_are_the_cpu_s(device):
    weight, x = torch.randn(2, 3, generator=seeded("w")), torch.randn(4, 3, generator=seeded("x"))
    with seeded_init(seeded("linear")):
        layer, twin = torch.nn.Linear(3, 2).to(CUDA), torch.nn.Linear(3, 2)
    for net in (layer, twin):
        net.load_state_dict({"weight": weight, "bias": weight[:, 0]})
        net(x.to(next(net.parameters()).device)).square().sum().backward()
    assert layer.weight.device == CUDA
    assert torch.equal(layer.weight.grad.cpu(), twin.weight.grad)


def test_devices_are_not_mixed(device):
    x = torch.ones(3, device=CUDA)
    assert (x + torch.tensor(1.0)).tolist() == [2, 2, 2]  # one number is a scalar, on a GPU too
    for mixing in (lambda: x + torch.ones(3), lambda: torch.cat([x, torch.ones(3)]), lambda: torch.ones(3) @ x):
        with pytest.raises(ForbiddenError, match=r"mixes the devices at tests/test_pretend_cuda\.py"):
            mixing()
    with pytest.raises(ForbiddenError, match=r"numpy\(\) of a tensor on the device"):
        x.numpy()


def test_generators_stay_on_their_device(device):
    assert torch.rand(3, generator=seeded("x", device=CUDA), device=CUDA).device == CUDA
    for own, of in (("cpu", CUDA), (CUDA, "cpu")):
        with pytest.raises(ForbiddenError, match="generator of another device"):
            torch.rand(3, generator=seeded("x", device=of), device=own)


def test_global_generators_are_left_alone(device):
    with pytest.raises(ForbiddenError, match="global generator"):
        torch.rand(3, device=CUDA)
    with pytest.raises(ForbiddenError, match="reseeded"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)


WAITS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(torch.isfinite(x).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "mask": lambda x: x[x > 0],
    "written mask": lambda x: x.clone().__setitem__(x > 0, 1.0),
    "nonzero": lambda x: x.nonzero(),
    "equal": lambda x: torch.equal(x, x),
    "copy": lambda x: torch.ones(3).to(CUDA),
    "copy into": lambda x: x.clone().copy_(torch.ones(3)),
    "number": lambda x: torch.as_tensor(0.5, device=CUDA),
    "index": lambda x: x[torch.tensor([0, 1])],
}


@pytest.mark.parametrize("name", WAITS)
def test_waits_are_counted_and_forbidden_in_a_capture(name, device):
    x = torch.ones(3, device=CUDA)
    said = r"waited [12] times for the device, not 0: .*test_pretend_cuda\.py:\d+"
    with pytest.raises(ForbiddenError, match=said), device.waiting_at_most(0):
        WAITS[name](x)
    with pytest.raises(ForbiddenError, match="a capture cannot wait for the device"):
        captured(lambda: WAITS[name](x))


def test_what_does_not_wait_is_not_counted(device):
    x = torch.ones(3, device=CUDA)
    with device.waiting_at_most(0):
        y = torch.where(x > 0, x, -x).mean() + torch.full((), 2.0, device=CUDA)
        x[1:].copy_(x[:-1] * y)


def test_what_is_not_repeatable_is_refused(device):
    x = torch.ones(1, 1, 4, 4, device=CUDA, requires_grad=True)
    F.interpolate(x, size=(8, 8), mode="nearest").sum().backward()
    with pytest.raises(ForbiddenError, match="upsample_bilinear2d_backward is not repeatable"):
        F.interpolate(x, size=(8, 8), mode="bilinear").sum().backward()


def test_a_capture_computes_nothing_and_a_replay_computes_it_anew(device):
    x, kept = torch.ones(3, device=CUDA), torch.zeros(3, device=CUDA)

    def work():
        kept.add_(x)
        return kept * 2

    graph, made = captured(work)
    assert kept.tolist() == [0, 0, 0]
    assert made.isnan().all()
    for times in (1, 2):
        graph.replay()
        assert made.tolist() == [2 * times] * 3
    x.mul_(10)
    graph.replay()
    assert kept.tolist() == [12] * 3


def test_a_capture_draws_anew_at_each_replay(device):
    generator, twin = seeded("x", device=CUDA), seeded("x", device=CUDA)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        made = torch.rand(3, generator=generator, device=CUDA)
    for _ in range(2):
        graph.replay()
        assert torch.equal(made, torch.rand(3, generator=twin, device=CUDA))


def test_older_torch_needs_generators_registered(device, monkeypatch):
    monkeypatch.setattr(graphs, "REGISTERS", True)
    with pytest.raises(RuntimeError) as caught:
        captured(lambda: torch.rand(3, generator=seeded("x", device=CUDA), device=CUDA))
    assert "to be registered" in str(caught.value.__context__)


def test_a_capture_that_fails_leaves_its_stream_current(device):
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError, match="previous error during capture") as caught:
        captured(lambda: 1 / 0)
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert torch.cuda.current_stream() is not before


def test_everything_is_put_back():
    names = ("graph", "is_available", "memory_snapshot", "CUDAGraph", "Stream")
    before = {name: getattr(torch.cuda, name) for name in names}
    generator = torch.Generator
    with pretended():
        assert torch.cuda.CUDAGraph is Graph
        assert torch.Generator is not generator
    assert {name: getattr(torch.cuda, name) for name in names} == before
    assert torch.Generator is generator
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
