"""The GPU: whether this torch can run on it, what a record says of it, and the memory of captured graphs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch

_DRIVER = Path("/proc/driver/nvidia/version")  # there where an NVIDIA driver is loaded (Linux)


def runs_on(capability: tuple[int, int], built_for: Iterable[str]) -> bool:
    """Whether code built for `built_for` ("sm_80", "compute_90") runs on a GPU of this compute capability.

    Binary code runs on its own major version from its minor one on, PTX ("compute_") on all that follow. What is built
    for one architecture alone ("sm_90a") counts as code for it.
    """
    for name in built_for:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if found is None:
            continue
        kind, own = found[1], (int(found[2]), int(found[3]))
        if found[4] == "a":
            fits = own == capability
        elif kind == "sm":
            fits = own[0] == capability[0] and own <= capability
        else:
            fits = own <= capability
        if fits:
            return True
    return False


def hindrance() -> str:
    """Why torch cannot use the GPU of this machine, with the remedy; empty where it can, or where there is none."""
    if not torch.cuda.is_available():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
        if hidden or torch.version.cuda is None or not _DRIVER.exists():
            return ""
        return (
            f"torch {torch.__version__} cannot use the NVIDIA driver {driver() or 'here'}: "
            f"install a driver for CUDA {torch.version.cuda}, or a torch built for an older CUDA"
        )
    capability, built_for = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    if not built_for or runs_on(capability, built_for):
        return ""
    return (
        f"torch {torch.__version__} has no code for {torch.cuda.get_device_name()}, of compute capability "
        f"{'.'.join(map(str, capability))}, only for {', '.join(built_for)}: install a torch built for another CUDA"
    )


def visible() -> list[str]:
    """The GPUs that torch sees, as CUDA_VISIBLE_DEVICES names them; each alone is a value for another process."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] or [str(number) for number in range(count)]


@cache
def driver() -> str | None:
    """The version of NVIDIA's driver; None where nothing says."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return run.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    try:
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _DRIVER.read_text())
    except OSError:
        return None
    return found[1] if found else None


def facts() -> dict[str, Any]:
    """What a record says of the GPU in use."""
    properties = torch.cuda.get_device_properties()
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver(),
        "compute_capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "memory_mib": properties.total_memory // 2**20,
        "convolutions": torch.backends.cudnn.conv.fp32_precision,  # ieee: full float32
        "matrix_products": torch.backends.cuda.matmul.fp32_precision,
        "deterministic": torch.backends.cudnn.deterministic,
    }


def full_float32() -> None:
    """No TF32 where nobody asks for it, and the same convolution algorithms in every run."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.allow_tf32 = products.allow_tf32 = False  # the old switches as well, or reading one of them is an error
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = products.fp32_precision = "ieee"
    cudnn.deterministic, cudnn.benchmark = True, False


def captured_memory() -> int:
    """Bytes in the pools of captured graphs that no live tensor holds: a replay uses them, and no counter sees it."""
    segments = torch.cuda.memory_snapshot()
    return sum(one["total_size"] - one["allocated_size"] for one in segments if one["segment_pool_id"] != (0, 0))
