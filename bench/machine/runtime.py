"""The machine: device, threads, the C allocator, and what of it goes into a record."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError

PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc


def resolve_device(choice: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu`, or `cuda`; UserError for anything else or a GPU that is not there."""
    if choice not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {choice!r}: choose one of auto, cpu, cuda")
    there = torch.cuda.is_available()
    if choice == "cuda" and not there:
        raise UserError("device 'cuda' is not available on this machine: choose --device cpu or auto")
    return torch.device("cuda" if there and choice != "cpu" else "cpu")


def configure(threads: int | None = None) -> None:
    """Set the process up once: allocator (unless BENCH_KEEP_MALLOC is set), threads, full float32 convolutions."""
    if not os.environ.get("BENCH_KEEP_MALLOC"):
        keep_large_blocks()
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def keep_large_blocks() -> bool:
    """Tell glibc to reuse large freed blocks instead of returning them to the kernel; False where there is no glibc.

    By default each large activation is a fresh mapping that faults in page by page, which more than doubles the
    time of a Langevin step on a CPU. Memory once used then stays with the process until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    large = 1 << 30
    set_all = [libc.mallopt(option, large) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(result == 1 for result in set_all)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the allocator of the CPU, had no memory left."""
    text = str(error)
    cpu = isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "not enough memory" in text)
    return cpu or isinstance(error, torch.OutOfMemoryError | MemoryError)


def out_of_memory(error: BaseException) -> str:
    """One line for a record."""
    first = str(error).splitlines()[0][:200] if str(error) else "none left"
    return f"out of memory ({first})"


@cache
def device_name(kind: str) -> str:
    """The name of the processor or GPU behind `kind` (`cpu` or `cuda`)."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak on a GPU; a process's resident peak cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> tuple[float, str]:
    """Peak memory in MiB since the last reset (GPU) or since the process began (CPU), and what it is the peak of."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20, "tensors on the GPU while sampling"
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, "the whole process so far"


def synchronize(device: torch.device) -> None:
    """Wait for the GPU, so that a clock read after this call has seen all the work; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit that the code was run from and whether tracked files differ from it; None where git does not say."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge a record's numbers: device, threads, versions and commit."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    commit, dirty = git_state()
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device.type),
        "threads": torch.get_num_threads(),
        "packages": packages,
        "git_commit": commit,
        "git_dirty": dirty,
    }
