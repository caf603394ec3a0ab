"""The project on a pretended CUDA device: captured chains, training, resumption, evaluation, smoke of every model."""

from __future__ import annotations

import contextlib
import gc
import json

import pytest
import torch

from bench import compare, report
from bench.config.registry import MODELS
from bench.contract.images import to_uint8
from bench.contract.seeds import seeded
from bench.errors import NotFiniteError
from bench.evaluation.throughput import sampler_throughput
from bench.grid.run_state import RunState
from bench.grid.training import TrainingConfig, one_update, train
from bench.storage.checkpoint import load_checkpoint, save_checkpoint
from ebm.energy import ENERGY_NETS
from ebm.engine import graphs
from ebm.langevin import ChainSettings, langevin
from tests.builders import cell_folder, energy_net, images, short_run, stop_at, trainer
from tests.pretend_cuda import CUDA, Graph, pretended
from tests.pretend_rules import ForbiddenError

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a real one: tests/gpu")
every_model = pytest.mark.parametrize("name", sorted(MODELS))
DATA = to_uint8(images(40))
WATCH = TrainingConfig(log_every=1, grids=0)
BASELINES = ("vae", "dcgan", "flow")  # whose kernels are channels-last on a GPU alone


@pytest.fixture
def device():
    with pretended() as one:
        yield one


def on_device(net):
    return net.to(device=CUDA, memory_format=torch.channels_last)


# Captured chains


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("activation", ["leaky_relu", "silu"])
@pytest.mark.parametrize("kind", sorted(ENERGY_NETS))
def test_a_replay_is_the_chain_step_by_step(kind, activation, precision, device):
    """End, norms and generator, bit for bit: for new weights, new starts, and with or without noise."""
    net = on_device(energy_net(kind, 3, 8, 4, activation))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    for update, n in enumerate((4, 3, 4)):
        x = images(n, (3, 8, 8), seed=update).to(CUDA)
        for std in (0.01, 0.0):
            settings, found = ChainSettings(4, 1.0, std, precision), []
            for observe in (None, lambda *_: None):  # a chain that is observed is not captured
                generator, norms = seeded("n", update, device=CUDA), torch.empty(4, device=CUDA)
                torch.rand(5, generator=generator, device=CUDA)  # as in training: the start is drawn before
                end = langevin(net, x, settings, generator=generator, norms=norms, observe=observe)
                found.append((end, norms, generator.get_state()))
            assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
            assert torch.isfinite(found[0][0]).all()
        net(x).mean().backward()
        optimizer.step()
    assert len(graphs._graphs[net]) == 4


def test_a_chain_never_waits(device):
    net, x, norms = on_device(energy_net("plain", 1, 8)), images(4).to(CUDA), torch.empty(5, device=CUDA)
    with device.waiting_at_most(0):
        for _ in range(2):
            langevin(net, x, ChainSettings(5, 1.0, 0.01), generator=seeded("n", device=CUDA), norms=norms)


def test_an_energy_that_waits_is_found(device):
    """What the captures above would do to a net that looks at its own numbers."""

    class Looking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.weight * x.square().flatten(1).sum(1) / (1 if x.sum() > 0 else 2)

    net = Looking().to(CUDA)
    with pytest.raises(ForbiddenError, match=r"a capture cannot wait .* at tests/test_cuda_paths.py"):
        langevin(net, images(4).to(CUDA), ChainSettings(2, 0.1, 0.0))


def test_a_warm_up_is_two_steps(device, monkeypatch):
    """A long chain is not run in full before it is captured."""
    net, x = on_device(energy_net("plain", 1, 8)), images(4).to(CUDA)
    counts = []
    for steps in (20, 40):
        before = device.kernels
        langevin(net, x, ChainSettings(steps, 1.0, 0.0))
        counts.append(device.kernels - before)
    assert counts[0] == counts[1]


def test_the_graph_not_used_for_longest_goes_first(device, monkeypatch):
    monkeypatch.setattr(graphs, "KEPT", 3)
    net = on_device(energy_net("plain", 1, 8))

    def sizes():
        return [key[0][0] for key in graphs._graphs[net]]

    for n in (1, 2, 3, 1, 4):
        langevin(net, images(n).to(CUDA), ChainSettings(1, 1.0, 0.0))
    assert sizes() == [3, 1, 4]


def test_graphs_go_with_their_net(device):
    net = on_device(energy_net("plain", 1, 8))
    langevin(net, images(2).to(CUDA), ChainSettings(1, 1.0, 0.0))
    assert len(graphs._graphs) == 1
    del net
    gc.collect()
    assert not graphs._graphs
    assert not Graph.alive


def test_memory_that_runs_out_in_a_capture_is_an_outcome(device, monkeypatch, tmp_path):
    """The end of the capture fails as well, and hides the cause; the stream is the usual one again."""

    def run(*_):
        if device.recording is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return torch.zeros(1, device=CUDA)

    monkeypatch.setattr("ebm.langevin.run", run)
    stream = torch.cuda.current_stream()
    result = train(trainer("ebm", device=CUDA), DATA.to(CUDA), seed=0, folder=cell_folder(tmp_path), config=WATCH)
    assert result.status == "oom"
    assert "Tried to allocate 2.00 GiB" in result.message
    assert torch.cuda.current_stream() is stream


# Training


def weights(t):
    return torch.cat([p.detach().cpu().flatten() for net in t.networks for p in net.parameters()])


def kernels(t):
    return [w for net in (*t.networks, t.model) for w in net.parameters() if w.ndim == 4]


def run(name, folder, device, stop_before=None, updates=6, **options):
    """Train on `DATA`, five batches an epoch; a trainer that stops leaves the checkpoint of its third update."""
    t = stop_at(trainer(name, device=device, updates=updates, **options), stop_before)
    if name in BASELINES and device.type == "cpu":
        for w in kernels(t):
            w.data = w.data.to(memory_format=torch.channels_last)
    halfway = {"config": TrainingConfig(log_every=1, grids=2), "save_grid": lambda _: None}  # a checkpoint there
    with contextlib.suppress(InterruptedError):
        train(t, DATA.to(device), seed=0, folder=cell_folder(folder), progress=False, **halfway)
    return t


@every_model
def test_an_update_waits_once(name, device, tmp_path, monkeypatch):
    """And an epoch once more, for its order. Saving is left out: it takes everything off the device."""
    monkeypatch.setattr(RunState, "save", lambda *_: None)
    t, data = trainer(name, device=CUDA, updates=10), DATA.to(CUDA)
    with device.waiting_at_most(10 + 2):
        result = train(t, data, seed=0, folder=cell_folder(tmp_path), config=WATCH, progress=False)
    assert result.updates == 10


def test_a_fixed_variance_costs_no_wait(device):
    t, x = trainer("vae", device=CUDA, variance=0.1), images(8).to(CUDA)
    with device.waiting_at_most(1):
        t.step(x, seeded("u", device=CUDA))


def test_a_second_wait_is_found(device, tmp_path, monkeypatch):
    """What the test above does to a trainer that looks at one number more in each update."""
    monkeypatch.setattr(RunState, "save", lambda *_: None)
    t, data = trainer("vae", device=CUDA, updates=10), DATA.to(CUDA)
    step = t.step
    t.step = lambda x, generator: step(x, generator) | {"mean": x.mean().item()}
    said = r"waited 22 times .* not 12: .*_local_scalar_dense at tests/test_cuda_paths\.py"
    with pytest.raises(ForbiddenError, match=said), device.waiting_at_most(10 + 2):
        train(t, data, seed=0, folder=cell_folder(tmp_path), config=WATCH, progress=False)


@every_model
def test_bf16_is_that_of_the_cpu_and_waits_no_more(name, device):
    """Autocast on the device, the chains outside it."""
    there, here = (trainer(name, device=one, updates=2) for one in (CUDA, torch.device("cpu")))
    for t, own in ((there, CUDA), (here, torch.device("cpu"))):
        x, state = DATA[:8].to(own), RunState(0, 0.0, [], {})
        with device.waiting_at_most(2 if own is CUDA else 0):
            for _ in range(2):
                one_update(t, lambda _, x=x: x, state, 0, lambda: 0.0, "bf16")
    assert all(p.dtype == torch.float32 for net in there.networks for p in net.parameters())
    plain = trainer(name, device=CUDA, updates=2)
    one_update(plain, lambda _: DATA[:8].to(CUDA), RunState(0, 0.0, [], {}), 0, lambda: 0.0, "float32")
    assert not torch.equal(weights(there), weights(plain))
    moved = weights(there) - weights(trainer(name))
    assert torch.nn.functional.cosine_similarity(moved, weights(here) - weights(trainer(name)), dim=0) > 0.9


@every_model
def test_training_is_the_cpu_s_and_can_be_continued(name, device, tmp_path):
    """The same random numbers and arithmetic as on a CPU, where the chains' convolutions alone have other forms.

    With kernels in the layout of the device, whose sums have an order of their own.

    A continued run equals one never interrupted bit for bit, and its optimizers are as fast: steps are counted on the
    CPU, and moments lie as their weights do.
    """
    whole, there = run(name, tmp_path / "whole", CUDA), run(name, tmp_path / "there", torch.device("cpu"))
    torch.testing.assert_close(weights(whole), weights(there), rtol=1e-4, atol=1e-5)
    if not name.startswith("ebm"):
        assert torch.equal(weights(whole), weights(there))
    stopped = run(name, tmp_path / "stopped", CUDA, stop_before=4)
    assert not torch.equal(weights(stopped), weights(whole))
    continued = run(name, tmp_path / "stopped", CUDA)
    assert torch.equal(weights(continued), weights(whole))
    held = [part for value in vars(continued).values() for part in (value if isinstance(value, list) else [value])]
    optimizers = [part for part in held if isinstance(part, torch.optim.Optimizer)]
    assert optimizers
    for optimizer in optimizers:
        for weight, state in optimizer.state.items():
            assert state["step"].device.type == "cpu"
            for moment in ("exp_avg", "exp_avg_sq"):
                assert state[moment].device == weight.device == CUDA
                assert state[moment].stride() == weight.stride()


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_channels_last_on_a_gpu_alone_and_their_checkpoints_are_of_no_layout(name, device, tmp_path):
    """And activations follow the layout of their kernels: between convolutions nothing is transposed."""
    settings = {"width": 8} if name == "flow" else {}
    there, here = (trainer(name, (3, 16, 16), device=one, **settings) for one in (CUDA, torch.device("cpu")))
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in kernels(there))
    assert all(w.is_contiguous() for w in kernels(here))
    seen = []
    for net in there.networks:
        for layer in net.modules():
            layer.register_forward_hook(lambda layer, _, out: seen.append((layer, out)))
    there.step(images(8, (3, 16, 16)).to(CUDA), seeded("u", device=CUDA))
    activations = [out for layer, out in seen if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert len(activations) > 5
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in activations)
    save_checkpoint(tmp_path / "kept", there.state_dict(), {})
    kept, _ = load_checkpoint(tmp_path / "kept")
    assert all(value.is_contiguous() for value in kept[next(iter(kept))].values())
    here.load_state_dict(kept)
    assert all(w.is_contiguous() for w in kernels(here))
    latents = here.model.sample_latents(4, seeded("z"))
    made = there.model.decode(latents.to(CUDA))
    torch.testing.assert_close(made.cpu(), here.model.decode(latents), rtol=1e-4, atol=1e-5)


def test_a_chain_that_is_not_finite_leaves_the_weights_alone(device):
    for name, level in (("ebm", ""), ("ebm-multigrid", " of level [48]")):
        t = trainer(name, device=CUDA)
        with torch.no_grad():
            for weight in t.model.parameters():
                weight.mul_(1e15)  # the product of all layers' overflows
        before = weights(t)
        with pytest.raises(NotFiniteError, match=rf"the Langevin chain{level} is not finite from step \d of 3 on"):
            t.step(images(8).to(CUDA), seeded("u", device=CUDA))
        assert torch.equal(weights(t), before)


# Evaluation


@pytest.mark.parametrize(("name", "settings"), [("ebm", {}), ("dcgan", {}), ("flow", {"evaluations": 1})])
def test_an_inversion_waits_once_a_decode(name, settings, device):
    model, x = trainer(name, device=CUDA, **settings).model, images(4).to(CUDA)
    with device.waiting_at_most(4 + 2):  # and once before, for the share of the pixels, and once at the end
        made = model.reconstruct(x, 4, seeded("r", device=CUDA))
    assert made.device == CUDA


def test_the_peak_holds_what_graphs_use(device):
    model = short_run(on_device(energy_net("plain", 1, 8, 8)), (1, 8, 8))
    found = sampler_throughput(model, batch_size=64, repeats=1, seed=0)
    assert found.peak_memory_mib >= 64 * 8 * 8 * 8 * 4 / 2**20  # the first layer's output
    assert found.peak_memory_mib < 2**20  # what lies free in no graph's pool is not counted
    assert "captured graphs" in found.peak_memory_of


def test_the_type_of_a_chain_is_that_of_its_convolutions(device):
    def dtype(precision, name="ebm"):
        return trainer(name, device=CUDA, precision=precision).model.sampling_dtype

    assert [dtype(one) for one in ("float32", "tf32", "bf16")] == ["float32", "tf32", "bfloat16"]
    assert dtype("bf16", "ebm-multigrid") == "bfloat16"
    assert trainer("ebm", precision="tf32").model.sampling_dtype == "float32"  # on the CPU, which has no TF32


def test_bf16_is_refused_where_it_is_slow(device):
    device.capability = (7, 5)
    for name in ("ebm", "ebm-multigrid"):
        with pytest.raises(ValueError, match=r"far slower .* compute capability 7.5: it needs 8.0"):
            trainer(name, device=CUDA, precision="bf16")


def test_smoke_of_every_model(device, tmp_path, capsys, monkeypatch):
    """The whole way from the command line to the records, with the examples' extractor; tables see no device."""
    monkeypatch.setattr(report, "build", lambda out: (out / "table.md").touch())
    small = ["evaluation.samples=64", "evaluation.budget=2", "evaluation.sweep=[0.5]", "evaluation.paths=4"]
    small += [f"{name}.updates=2" for name in MODELS]
    small += ["evaluation.metrics=['FD']", "evaluation.midpoints=4", "evaluation.frames=2", "evaluation.points=3"]
    small += ["ebm.steps=2", "ebm-multigrid.steps=[2]", "flow.evaluations=2", "published.steps=2"]
    arguments = ["--profile", "smoke", "--quiet", "--threads", "1", "--device", "cuda", "--models", *MODELS]
    arguments += ["--features", "examples.pixels:Projection", "--no-cache", "--set", *small]
    assert compare.main([*arguments, "--out", str(tmp_path)]) == 0
    assert "device: pretended GPU, 16384 MiB, compute capability 8.0, driver 1.0" in capsys.readouterr().err
    records = [json.loads(path.read_text()) for path in tmp_path.glob("cells/*/*/*/record.json")]
    assert sorted(record["model"] for record in records) == sorted(MODELS)
    for record in records:
        assert record["environment"]["device"] == record["throughput"]["device"] == "pretended GPU"
        told = record["environment"]["gpu"]
        assert (told["compute_capability"], told["driver"], told["deterministic"]) == ("8.0", "1.0", True)
        assert (told["convolutions"], told["matrix_products"]) == ("ieee", "ieee")
        own = {"sampler_kernels": "plain: a pretended GPU"} if record["model"].startswith("ebm") else {}
        assert told.items() >= own.items()
        assert ("sampler_kernels" in told) == bool(own)
