"""Whether torch can run on a GPU, and the precision that a process computes in; none of this needs one."""

from __future__ import annotations

import pytest
import torch

from bench.errors import UserError
from bench.machine import gpu, runtime
from ebm.langevin import ChainSettings, langevin
from tests.builders import images
from tests.pretend_cuda import pretended

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((8, 0), ["sm_75", "sm_80"], True),
        ((8, 6), ["sm_80"], True),  # a later minor version
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),  # another major version
        ((9, 0), ["compute_80"], True),  # PTX is compiled for what follows
        ((7, 0), ["sm_75", "compute_75"], False),
        ((9, 0), ["sm_90a"], True),
        ((9, 3), ["sm_90a"], False),
        ((12, 0), ["sm_100", "sm_120"], True),
    ],
)
def test_what_code_a_gpu_runs(capability, built_for, runs):
    assert gpu.runs_on(capability, built_for) is runs


@no_gpu
def test_a_gpu_that_torch_has_no_code_for(capsys):
    with pretended() as device:
        device.capability = (7, 0)
        said = r"has no code for pretended GPU, of compute capability 7\.0, only for sm_80"
        with pytest.raises(UserError, match=said):
            runtime.resolve_device("cuda")
        assert runtime.resolve_device("auto") == torch.device("cpu")
    assert "warning: the CPU is used, not the GPU: torch" in capsys.readouterr().err


@no_gpu
def test_a_driver_that_is_too_old(monkeypatch, tmp_path, capsys):
    there = tmp_path / "version"
    there.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 2021\n")
    monkeypatch.setattr(gpu, "_DRIVER", there)
    monkeypatch.setattr(gpu, "driver", gpu.driver.__wrapped__)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("PATH", str(tmp_path))  # without nvidia-smi
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert runtime.resolve_device("auto") == torch.device("cpu")
    assert "cannot use the NVIDIA driver 470.82.01: install a driver for CUDA 13.0" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert runtime.resolve_device("auto") == torch.device("cpu")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("switch", ["tf32", "ieee"])
def test_precision_of_the_chain_whatever_the_process_has_set(switch):
    """The switches of a user who takes the newer ones are read without an error, overruled, and put back."""
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = switch
        seen = []

        def energy(x):
            seen.append(convolutions.fp32_precision)
            return x.square().flatten(1).sum(1)

        for precision in ("float32", "tf32"):
            langevin(energy, images(1), ChainSettings(1, 0.1, 0.0, precision))
        assert seen == ["ieee", "tf32"]
        assert convolutions.fp32_precision == switch
    finally:
        convolutions.fp32_precision = before


def test_a_process_is_repeatable_and_in_full_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    runtime.configure()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32  # readable: the older switches agree with the newer ones
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
