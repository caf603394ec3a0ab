"""What convolutions and matrix products are computed in: float32, or less where that is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FULL = "float32"
PRECISIONS = (FULL, "tf32", "bf16")  # tf32 is for NVIDIA GPUs and is float32 elsewhere


def check_precision(precision: str, device: torch.device, name: str = "precision") -> None:
    """Raise ValueError, naming the setting, for a precision that is unknown or that `device` only has by emulation."""
    if precision not in PRECISIONS:
        raise ValueError(f"{name}={precision!r} is unknown: choose one of {', '.join(PRECISIONS)}")
    if precision == "bf16" and device.type == "cuda" and (found := torch.cuda.get_device_capability(device)) < (8, 0):
        capability = ".".join(map(str, found))
        raise ValueError(
            f"{name}='bf16' is far slower than float32 on a GPU of compute capability {capability}: "
            "it needs 8.0 or more; choose float32"
        )


@contextlib.contextmanager
def lowered(precision: str, device: torch.device) -> Iterator[None]:
    """Within, convolutions and matrix products on `device` are computed in `precision`; weights stay float32.

    bf16 is torch's autocast (mixed precision: Micikevicius et al. 2018, arXiv 1710.03740), without a scale of the loss,
    since bfloat16 has float32's range. For float32 nothing is touched at all.
    """
    if precision == "bf16":
        # no cache of rounded weights: an update of a GAN changes them between two passes
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    elif precision == "tf32" and device.type == "cuda":
        with _products("tf32"):
            yield
    else:
        yield


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Within, everything on `device` is computed in the type of its operands, inside `lowered` too."""
    with contextlib.ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(_products("ieee"))
        yield


@contextlib.contextmanager
def _products(precision: str) -> Iterator[None]:
    """CUDA's convolutions and matrix products of float32 in `precision`; the process's own settings are put back."""
    kinds = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = precision
    try:
        yield
    finally:
        for kind, own in zip(kinds, before, strict=True):
            kind.fp32_precision = own
