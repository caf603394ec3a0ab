"""The machine: device, threads, the C allocator, and what a record says about it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from bench.machine import gpu, ranks

try:
    import resource
except ImportError:  # not available on Windows
    resource = None  # type: ignore[assignment]

PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")
_GIT_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # set by a hook, for its own repository
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc


def resolve_device(choice: str) -> torch.device:
    """The device for `auto` (CUDA if available), `cpu` or `cuda`; UserError for another choice or a missing GPU.

    `auto` says on standard error when it leaves a GPU unused because this torch cannot run on it.
    """
    if choice not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {choice!r}: choose one of auto, cpu, cuda")
    if choice == "cpu":
        return torch.device("cpu")
    there, hindrance = torch.cuda.is_available(), gpu.hindrance()
    if there and not hindrance:
        return torch.device("cuda")
    if choice == "cuda":
        reason = f" ({hindrance})" if hindrance else ""
        raise UserError(f"device 'cuda' is not available on this machine{reason}: choose --device cpu or auto")
    if hindrance:
        print(f"warning: the CPU is used, not the GPU: {hindrance}", file=sys.stderr, flush=True)
    return torch.device("cpu")


def described(device: torch.device) -> str:
    """One line for who starts a run: the processor or GPU, and what runs it."""
    name = device_name(device.type)
    if device.type == "cpu":
        return f"{name}, {torch.get_num_threads()} threads"
    found = gpu.facts()
    return (
        f"{name}, {found['memory_mib']} MiB, compute capability {found['compute_capability']}, "
        f"driver {found['driver'] or 'unknown'}, CUDA {found['cuda']}, cuDNN {found['cudnn']}"
    )


def configure(threads: int | None = None) -> None:
    """Set the process up once: allocator (unless BENCH_KEEP_MALLOC is set), threads, full and repeatable float32."""
    if not os.environ.get("BENCH_KEEP_MALLOC"):
        keep_large_blocks()
    if threads is not None:
        torch.set_num_threads(threads)
    gpu.full_float32()


def stopwatch(device: torch.device) -> Callable[[], float]:
    """The clock of a budget of training seconds.

    On one thread of a CPU it is the processor time of this process, which other programs lengthen far less than the
    time on the wall; elsewhere, where work goes on beside this thread, it is the time on the wall.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def keep_large_blocks() -> bool:
    """Tell glibc to reuse large freed blocks instead of returning them to the kernel; False if there is no glibc.

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
    return _shortage(error) is not None


def _shortage(error: BaseException | None) -> BaseException | None:
    """The error that tells of the lack of memory: `error`, or the one that it came up from.

    Where memory runs out inside the capture of a graph, the end of the capture fails as well, and that error is raised.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        text = str(error)
        cpu = isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "not enough memory" in text)
        if cpu or isinstance(error, torch.OutOfMemoryError | MemoryError):
            return error
        if not isinstance(error, RuntimeError):
            return None
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def out_of_memory(error: BaseException) -> str:
    """One line for a record."""
    text = str(_shortage(error) or error)
    first = text.splitlines()[0][:200] if text else "none left"
    return f"out of memory ({first})"


@cache
def device_name(kind: str) -> str:
    """The name of the processor or GPU for `kind` (`cpu` or `cuda`)."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def release_memory(device: torch.device) -> None:
    """Give a GPU's memory back that nothing holds any more, that of graphs that are gone included."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak memory of a GPU; the resident peak of a process cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> tuple[float | None, str]:
    """Peak memory in MiB since the last reset (GPU) or since the process began (CPU), and what it is the peak of.

    The peak is None for a CPU on a system that does not report it (Windows).
    """
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) + gpu.captured_memory()
        return peak / 2**20, "tensors on the GPU while sampling, and the memory of captured graphs"
    if resource is None:
        return None, "not known on this system"
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, "the whole process so far"


def synchronize(device: torch.device) -> None:
    """Wait for the GPU, so that a clock read after this call includes all its work; on a CPU, do nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit of the running code and whether tracked files differ from it; None if git cannot tell.

    Only the project's own repository counts: its top folder contains this package, and this file is tracked. A package
    installed in an environment inside another repository has no commit.
    """
    file = Path(__file__)
    own = {name: value for name, value in os.environ.items() if name not in _GIT_PLACES}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True, env=own)
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", file.name)
        if git("rev-parse", "--show-prefix") != f"{'/'.join(__name__.split('.')[:-1])}/":
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


@cache
def versions() -> dict[str, str | None]:
    """The versions of `PACKAGES`, looked up once; None for one that is not there."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge a record's numbers: device, threads, versions and commit."""
    commit, dirty = git_state()
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device.type),
        "gpu": gpu.facts() if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        **({"ranks": ranks.count()} if ranks.count() > 1 else {}),
        "packages": dict(versions()),
        "git_commit": commit,
        "git_dirty": dirty,
    }
