"""Fused kernels without a GPU: interpreted by Triton, compiled for GPUs, chosen and counted on a pretended one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.contract.seeds import seeded
from ebm import engine
from ebm.engine import fused
from ebm.langevin import ChainSettings, langevin
from tests.builders import energy_net, images, trainer
from tests.fused_stand_in import StandIn
from tests.pretend_cuda import CUDA, pretended

ROOT = Path(__file__).parent.parent
K = 3
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU: tests/gpu")


# The kernels


@no_gpu
def test_kernels_under_triton_s_interpreter(tmp_path):
    """In a process of its own: Triton reads once whether it interprets."""
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "tests/gpu/test_fused.py", "-p", "no:xdist", "-p", "no:cacheprovider"]
    own = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([*command, f"--basetemp={tmp_path}"], cwd=ROOT, env=own, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout


def test_kernels_compile_for_a_gpu(tmp_path, monkeypatch):
    """All that a chain launches, down to machine code by Triton's own assembler; nothing is run."""
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile
    from triton.runtime import JITFunction

    from ebm.engine import triton_kernels as kernels

    launched = []
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(
        kernels, "_launch", lambda kernel, _, *arguments, **more: launched.append((kernel, arguments, more))
    )
    h = torch.zeros(2, 16, 4, 4, dtype=torch.bfloat16)
    kernels.bias_leaky_(h, h[0, :, 0, 0], 0.2)
    kernels.leaky_backward_(h, h, h[:, :, :2, :2], 0.2)
    for x, noisy in ((torch.zeros(64, 3, 32, 32), True), (torch.zeros(1, 1, 8, 8), False)):
        kernels.update_(x, x, x if noisy else None, 1.0, 0.01, x[0, 0, 0, 0])
    assert {kernel.__name__ for kernel, *_ in launched} == {
        n for n, k in vars(kernels).items() if isinstance(k, JITFunction)
    }

    norm, *_ = kernels._mean_norm.params
    assert norm.name == "norm_ptr"
    assert norm.do_not_specialize_on_alignment  # the first step of a chain compiles what its fourth launches

    def type_of(value):
        if isinstance(value, torch.Tensor):
            return {torch.float32: "*fp32", torch.bfloat16: "*bf16"}[value.dtype]
        return "i32" if isinstance(value, int) else "fp32"

    for kernel, arguments, constants in launched:
        given = dict(zip(kernel.arg_names, arguments, strict=False))
        ones = {name: value for name, value in given.items() if type(value) is int and value == 1}
        constants |= ones  # Triton compiles a variant for them
        signature = {name: type_of(value) for name, value in given.items()} | dict.fromkeys(constants, "constexpr")
        assert list(signature) == kernel.arg_names
        source = ASTSource(kernel, signature, constexprs=constants)
        assert compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]


# Which chains have them


@pytest.fixture
def device():
    with pretended() as one:
        yield one


def chain(net, x, settings, observe=None):
    """End, norms and the generator's state."""
    generator, norms = seeded("n", device=x.device), torch.empty(settings.steps, device=x.device)
    end = langevin(net, x, settings, generator=generator, norms=norms, observe=observe)
    return end, norms, generator.get_state()


@no_gpu
@pytest.mark.parametrize(
    ("kind", "activation", "precision", "expected"),
    [
        ("plain", "leaky_relu", "float32", {"bias_leaky_": 2}),
        ("plain", "silu", "float32", {}),
        ("residual", "leaky_relu", "float32", {"bias_leaky_": 1, "leaky_backward_": 1}),
        ("residual", "leaky_relu", "bf16", {"bias_leaky_": 1, "leaky_backward_": 1}),
        ("residual", "silu", "float32", {}),
    ],
)
def test_a_step_calls_each_kernel_where_it_belongs(kind, activation, precision, expected, device, monkeypatch):
    """8 pixels: two layers with LeakyReLU behind a bias, or one block with one such layer."""
    calls = StandIn().install(device, monkeypatch).calls
    net, x = energy_net(kind, 3, 8, 4, activation).to(CUDA), images(3, (3, 8, 8)).to(CUDA)
    own = chain(net, x, ChainSettings(K, 2.0, 0.01, precision))
    a_step = {"update_": 1} | expected
    assert calls == {name: (K + 2) * times for name, times in a_step.items()}  # the capture, and two steps before it
    before = calls.copy()
    again = chain(net, x, ChainSettings(K, 2.0, 0.01, precision))
    assert calls == before  # a replay calls nothing
    plain = chain(net, x, ChainSettings(K, 2.0, 0.01, precision, fused=False))
    assert calls == before  # nor does a chain that wants none
    eager = chain(net, x, ChainSettings(K, 2.0, 0.01, precision), observe=lambda *_: None)
    assert calls == {name: (2 * K + 2) * times for name, times in a_step.items()}
    for first, *same in zip(own, again, eager, strict=True):
        assert all(torch.equal(first, other) for other in same)
    assert torch.equal(own[2], plain[2])  # the same random numbers
    if precision == "float32":
        torch.testing.assert_close(own[0].cpu(), plain[0].cpu(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(own[1].cpu(), plain[1].cpu(), rtol=1e-4, atol=1e-5)
    assert (own[0] - x).abs().max() > 1e-3


@no_gpu
def test_a_cpu_and_double_precision_have_none(device, monkeypatch):
    calls = StandIn().install(device, monkeypatch).calls
    net, x = energy_net("residual", 1, 8), images(2)
    chain(net, x, ChainSettings(2, 1.0, 0.01))
    chain(net.double().to(CUDA), x.double().to(CUDA), ChainSettings(2, 1.0, 0.01))
    assert not calls
    assert fused.described(torch.device("cpu"), torch.float32) == ""
    assert fused.described(CUDA, torch.float64) == "plain: images are torch.float64"
    assert fused.described(CUDA, torch.float32) == "fused"
    assert trainer("ebm", device=CUDA).model.sampler_kernels == "fused"
    assert trainer("ebm-multigrid", device=CUDA).model.sampler_kernels == "fused"
    assert trainer("vae", device=CUDA).model.sampler_kernels == trainer("ebm").model.sampler_kernels == ""


def of_a_failing(error):
    """The reason that is given where the kernels cannot be compiled or run."""

    class Failing(StandIn):
        def try_out(self, _):
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "triton_kernels", Failing(), raising=False)
        return fused.hindrance.__wrapped__(CUDA)


def test_why_there_are_none(monkeypatch):
    found = of_a_failing(RuntimeError("Failed to find C compiler.\nPlease specify"))
    assert found == "Triton failed (RuntimeError: Failed to find C compiler. Please specify)"
    assert len(of_a_failing(OSError("x" * 1000))) < 220
    with pytest.raises(torch.OutOfMemoryError):
        of_a_failing(torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setenv(fused.VARIABLE, "1")
    assert of_a_failing(RuntimeError()) == "BENCH_PLAIN_STEPS is set"


def test_without_triton(monkeypatch):
    monkeypatch.setenv(fused.VARIABLE, "")
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "ebm.engine.triton_kernels", raising=False)
    monkeypatch.delattr(engine, "triton_kernels", raising=False)
    assert fused.hindrance.__wrapped__(CUDA).startswith("Triton is missing (")
