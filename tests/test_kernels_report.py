"""The kernels' benchmark itself: its floor, its peers, its table and its comparison. No time is asserted."""

from __future__ import annotations

import copy
import json
from collections import Counter

import pytest
import torch
from torch import nn

from baselines.published_chain import published_chain
from bench.contract.seeds import seeded
from bench.errors import UserError
from ebm.energy import LEAK
from ebm.engine import graphs
from ebm.reference import langevin_reference
from tests.builders import energy_net, images, short_run
from tests.fused_stand_in import StandIn
from tests.kernels import __main__ as session
from tests.kernels import measure, plot, results, subjects, table
from tests.kernels import test_langevin_kernels as timings
from tests.kernels.floor import bare_convolutions, gflop, record, repeated
from tests.kernels.memory import peak_mib
from tests.kernels.peers import plain_sequence
from tests.kernels.processes import Peer
from tests.kernels.subjects import unrolled_inversion
from tests.pretend_cuda import CUDA, Graph, pretended

CPU = torch.device("cpu")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


def fabricated(**ratios):
    """A results file's content: three chains, an update and a kernel of another file."""
    common = {"device": "a processor", "threads": 2, "dtype": "float32", "batch": 64, "channels": 3, "side": 32}
    benchmarks = [
        {
            "name": f"test_chain[plain-{n_f}-32]",
            "extra_info": common
            | {"kernel": "chain", "net": "plain", "n_f": n_f, "steps": 20, "pairs": 5, "seconds": n_f / 100}
            | {"seconds_of": {"floor": n_f / 110, "published": n_f / 50}, "steps_per_second": 2000 / n_f}
            | {"times_as_fast_as_published": 2.0, "time_over_floor": 1.1, "bf16_time_over_float32": 0.5}
            | {"peers": {"published": "2.0", "torchebm": "not installed"}}
            | ratios,
        }
        for n_f in (16, 32, 64)
    ]
    update = {"kernel": "training update", "n_f": 16, "steps": 20, "time_over_chain": 1.08, "updates_per_second": 7.0}
    features = {"device": "a processor", "times_as_fast_as_torch_fidelity": 1.7, "images_per_second": 40.0}
    benchmarks += [
        {"name": "test_training_update[16]", "extra_info": common | update},
        {"name": "test_extraction[x]", "extra_info": features},
    ]
    return {"datetime": "2026-01-02T03:04:05.678", "benchmarks": benchmarks}


def saved(path, content):
    path.write_text(json.dumps(content))
    return path


# the floor


def test_recorder_finds_the_plain_net_s_convolutions():
    """By hand: 3 -> 4 at 16x16 (3x3), 4 -> 8 at 8x8 and 8 -> 16 at 4x4 (4x4, stride 2), 16 -> 1 (4x4)."""
    found = record(energy_net("plain", 3, 16, 4), images(2, (3, 16, 16)))
    assert [c.output for c in found] == [(2, 4, 16, 16), (2, 8, 8, 8), (2, 16, 4, 4), (2, 1, 1, 1)]
    assert [tuple(c.weight.shape) for c in found] == [(4, 3, 3, 3), (8, 4, 4, 4), (16, 8, 4, 4), (1, 16, 4, 4)]
    assert [list(c.stride) for c in found] == [[1, 1], [2, 2], [2, 2], [1, 1]]
    products = 2 * (4 * 256 * 27 + 8 * 64 * 64 + 16 * 16 * 128 + 256)
    assert gflop(found) == pytest.approx(4e-9 * products)  # 2 operations a product, forward and backward


def test_recorder_finds_convolutions_that_are_no_modules():
    """The residual block pools the kernel of its second convolution, and calls the function itself."""
    found = record(energy_net("residual", 1, 8, 4), images(2, (1, 8, 8)))
    kernels = [(c.weight.shape[-1], list(c.stride)) for c in found]
    assert sorted(kernels) == sorted([(3, [1, 1]), (3, [1, 1]), (4, [2, 2]), (1, [1, 1]), (4, [1, 1])])


def test_floor_replays_each_convolution_forward_and_backward():
    replay = bare_convolutions(record(energy_net("plain", 1, 8, 4), images(2)))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        replay()
    counts = {event.key: event.count for event in profile.key_averages()}
    assert (counts["aten::convolution"], counts["aten::convolution_backward"]) == (3, 3)


@no_gpu
def test_on_a_gpu_the_floor_is_one_captured_graph():
    """As the engine's chain is: a run of it launches nothing one by one."""
    with pretended() as device:
        net, x = energy_net("plain", 1, 8, 4).to(CUDA), images(2).to(CUDA)
        floor = repeated(bare_convolutions(record(net, x)), 4, CUDA)
        (graph,) = Graph.alive
        found = Counter(func._schema.name for func, *_ in graph.recording.calls)
        assert (found["aten::convolution"], found["aten::convolution_backward"]) == (4 * 3, 4 * 3)
        launched = device.kernels
        floor()
        assert device.kernels == launched


@no_gpu
def test_on_a_gpu_the_chain_is_timed_with_and_without_fused_kernels(monkeypatch):
    """Both are captured. On a pretended GPU their ratio means nothing."""

    class Benchmark:
        enabled = True

        def __init__(self):
            self.extra_info = {}

        def pedantic(self, target, setup, teardown, rounds):
            for _ in range(rounds):
                setup(), target(), teardown()

    with pretended() as device:
        calls, benchmark = StandIn().install(device, monkeypatch).calls, Benchmark()
        for module in (measure, subjects, timings):
            monkeypatch.setattr(module, "DEVICE", CUDA)
        monkeypatch.setattr(subjects, "BATCH", 2)
        monkeypatch.setattr(measure, "SGEMM", 8)
        monkeypatch.setattr(measure, "PAIRS", (2, 2))
        net, x = subjects.make("plain", 1, 8, 4)
        timings.race_of_chain(benchmark, net, x, 3, kernel="chain", net="plain", n_f=4)
        captured = {(one[3].steps, one[3].fused) for one in graphs._graphs[net]}
    assert {(3, True), (3, False)} <= captured
    assert calls["update_"] > 0
    facts = benchmark.extra_info
    assert facts["times_as_fast_as_unfused"] > 0
    kernel = results.Kernel("test_chain", facts)
    assert "times_as_fast_as_unfused" in kernel.ratios
    assert "x unfused" in table.chains([kernel])
    assert "x unfused" not in table.chains([results.Kernel("test_chain", {"kernel": "chain", "steps": 3})])


# the peers


def layers_of(net):
    return [(m.weight.detach(), m.bias.detach()) for m in net.modules() if isinstance(m, nn.Conv2d)]


def test_published_algorithm_equals_the_reference_under_the_same_noise():
    net, x = energy_net("plain", 3, 16, 4), images(3, (3, 16, 16))
    f = plain_sequence(layers_of(net))
    torch.testing.assert_close(-f(x).flatten(), net(x))
    assert {m.negative_slope for m in f if isinstance(m, nn.LeakyReLU)} == {LEAK}
    eps = torch.randn(4, *x.shape, generator=seeded("eps"))
    draws = iter(eps)
    end = published_chain(f, x, 4, step_size=2.0, noise_std=0.01, draw=lambda _: next(draws))
    expected = langevin_reference(net, x, steps=4, step_size=2.0, noise=lambda k: 0.01 * eps[k])
    assert (expected - x).abs().max() > 1e-3
    torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-6)


def test_worker_answers_line_by_line(tmp_path):
    net, x = energy_net("plain", 1, 8), images(2)
    peer = Peer("trivial")
    try:
        assert peer.version == torch.__version__.split("+")[0]
        peer.load(net, x, tmp_path, device="cpu", threads=1, step_size=0.5, noise_std=0.01)
        torch.testing.assert_close(peer.end(3, tmp_path), x / 8)  # though it prints on stdout
        assert peer.seconds(1) >= 0
        with pytest.raises(RuntimeError, match="trivial: ValueError: steps=-1"):
            peer.seconds(-1)
        torch.testing.assert_close(peer.end(1, tmp_path), x / 2)  # and goes on after an error
        before = peer.process
        assert peer.seconds(1) >= 0
        assert before.poll() == 0
        torch.testing.assert_close(peer.end(2, tmp_path), x / 4)  # the new process has the same net and start
    finally:
        peer.close()
    assert peer.process.returncode == 0


# measuring


def test_race_pairs_every_contestant_with_the_engine_s_run_beside_it():
    ran = []

    class Benchmark:
        enabled = True

        def pedantic(self, target, setup, teardown, rounds):
            for _ in range(rounds):
                setup(), target(), teardown()

    contestants = {name: (lambda name=name: ran.append(name) or 1.0) for name in ("floor", "a", "b", "sgemm")}
    race = measure.Race(lambda: ran.append("E"), contestants)
    race.engine = lambda: ran.append("E") or 0.5
    race.run(Benchmark(), seconds=0)
    assert race.pairs == measure.PAIRS[0]
    assert ran == ["floor", "E", "a", "b", "E", "sgemm"] * (race.pairs + 1)
    facts = race.facts()
    assert (facts["times_as_fast_as_a"], facts["times_as_fast_as_b"], facts["time_over_floor"]) == (2, 2, 0.5)
    assert len(facts["paired"]["a"]) == race.pairs


def test_peak_memory_counts_what_is_held_at_once():
    a = torch.ones(2**18)  # 1 MiB each

    def three_at_once():
        b = a + 1
        c = b + 1
        d = b + c
        del b, c
        return d + 1

    assert peak_mib(three_at_once, CPU) == pytest.approx(3)
    assert peak_mib(lambda: a.view(2, -1).mul_(1), CPU) == 0  # views and in-place work hold nothing of their own


def test_memory_of_inversion_is_flat_and_that_of_double_backward_is_not():
    net, x = energy_net("plain", 1, 8), images(4)

    def inversion(steps):
        return lambda: short_run(net, (1, 8, 8), steps=steps).reconstruct(x, 1, seeded("z"))

    assert peak_mib(inversion(40), CPU) == pytest.approx(peak_mib(inversion(4), CPU), rel=0.01)
    unrolled = [peak_mib(lambda k=k: unrolled_inversion(net, x, x, k), CPU) for k in (4, 8)]
    assert unrolled[1] > 1.5 * unrolled[0]


def test_double_backward_gives_the_piecewise_linear_gradient():
    """dM/dz is the identity almost everywhere: 2 (M(z) - x)."""
    net, x, z = energy_net("plain", 1, 8), images(4), images(4, seed=1)
    end = langevin_reference(net, z, steps=3, step_size=1.0)
    torch.testing.assert_close(unrolled_inversion(net, z, x, 3), 2 * (end - x))


# table and plot


def test_table_says_what_was_measured_wanted_and_missing(tmp_path):
    kernels, content = results.read(saved(tmp_path / "k.json", fabricated()))
    lines = table.render(kernels, content).splitlines()
    rows = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines if "|" in line}
    assert rows["times as fast as the published algorithm"] == [
        "2.00 (2.00, met)",
        "2.00 (1.50, met)",
        "2.00 (1.20, met)",
    ]
    assert rows["time over the bare convolutions"][0] == "1.10 (1.05, MISSED)"
    assert rows["times as fast as torchebm"] == ["not installed"] * 3
    assert rows["times as fast as ebmkit"] == ["–"] * 3
    assert rows["training update, n_f=16, 3x32x32, K=20"][0] == "7 updates/s"
    assert rows["test_extraction[x]"][:2] == ["40 images/s", "times as fast as torch fidelity 1.70"]
    assert "1.08 (1.10, met)" in "\n".join(lines)


def test_plot_is_drawn_where_there_are_chains(tmp_path):
    kernels, _ = results.read(saved(tmp_path / "k.json", fabricated()))
    assert plot.draw(kernels, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert not plot.draw(kernels[3:], tmp_path / "none.png")


# comparing


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({}, True),
        ({"times_as_fast_as_published": 1.81}, True),
        ({"times_as_fast_as_published": 1.79}, False),
        ({"times_as_fast_as_published": 4.0}, True),
        ({"time_over_floor": 1.20}, True),
        ({"time_over_floor": 1.22}, False),
        ({"time_over_floor": 0.5}, True),
        ({"time_over_floor": float("nan")}, False),
        ({"seconds": 100.0, "steps_per_second": 0.1, "bf16_time_over_float32": 5.0}, True),  # no ratios of the engine
    ],
)
def test_compare_fails_for_a_ratio_lost_and_for_nothing_else(tmp_path, capsys, change, fine):
    old = saved(tmp_path / "old.json", fabricated())
    new = saved(tmp_path / "new.json", fabricated(**change))
    assert session.main(["compare", str(old), str(new)]) == (0 if fine else 1)
    printed = capsys.readouterr().out
    assert f"{0 if fine else 3} of 8 ratios are worse by more than 10%" in printed
    assert (f"test_chain[plain-16-32]: {next(iter(change), '')} was" in printed) == (not fine)


def test_compare_names_what_it_could_not_compare(tmp_path, capsys):
    content = fabricated()
    less = copy.deepcopy(content)
    del less["benchmarks"][0]["extra_info"]["times_as_fast_as_published"], less["benchmarks"][4]
    less["benchmarks"][1]["extra_info"]["device"] = "another"
    files = [saved(tmp_path / "old.json", content), saved(tmp_path / "new.json", less)]
    assert session.main(["compare", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    assert "test_chain[plain-16-32]: times_as_fast_as_published is not in the new results" in printed
    assert "test_extraction[x]: times_as_fast_as_torch_fidelity is not in the new results" in printed
    assert "0 of 6 ratios" in printed


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"benchmarks": [{"name": 1}]}', '{"benchmarks": []}'])
def test_a_missing_or_foreign_file_is_a_one_line_error(tmp_path, capsys, text):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    assert session.main(["compare", str(path)]) == 2  # before anything is timed
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert str(path) in printed


def test_compare_needs_files():
    with pytest.raises(UserError, match="one or two files"):
        session.compare([])


def test_an_earlier_result_is_kept(tmp_path):
    names = []
    for _ in range(3):
        saved(tmp_path / "kernels.json", fabricated())
        names.append(session.keep(tmp_path / "kernels.json").name)
    assert names == [f"kernels-2026-01-02T030405{again}.json" for again in ("", "-2", "-3")]
    assert session.keep(tmp_path / "kernels.json") is None
