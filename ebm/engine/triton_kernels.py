"""The steps between convolutions as Triton kernels (Tillet et al. 2019); `ebm/engine/fused.py` has their contract.

Shapes and types decide which variants are compiled, and nothing that changes from step to step does: the warm-up of a
chain compiles all that its capture launches.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers that one program works on
IMAGES = 64  # of which one program takes the norms at once


def bias_leaky_(h: Tensor, bias: Tensor, leak: float) -> Tensor:
    h = _dense(h)
    _launch(_bias_leaky, (triton.cdiv(h.numel(), BLOCK),), h, bias, h.numel(), leak, CHANNELS=len(bias), BLOCK=BLOCK)
    return h


def leaky_backward_(output: Tensor, g: Tensor, skip: Tensor, leak: float) -> Tensor:
    output, size = _dense(output), output.numel()
    constants = {"CHANNELS": output.shape[1], "WIDTH": output.shape[3], "BLOCK": BLOCK}
    _launch(_leaky_backward, (triton.cdiv(size, BLOCK),), output, _dense(g), _dense(skip), size, leak, **constants)
    return output


def update_(
    x: Tensor, gradient: Tensor, noise: Tensor | None, step_size: float, noise_std: float, norm: Tensor | None
) -> None:
    n, size = len(x), x[0].numel()
    blocks = triton.cdiv(size, BLOCK)
    squares = x.new_empty(n * blocks)
    own = x if noise is None else noise  # x: not read
    constants = {"NOISY": noise is not None, "BLOCK": BLOCK}
    _launch(_update, (n, blocks), x, _dense(gradient), own, squares, size, blocks, step_size, noise_std, **constants)
    if norm is not None:
        constants = {"BLOCKS": triton.next_power_of_2(blocks), "IMAGES": IMAGES}
        _launch(_mean_norm, (1,), norm, squares, n, blocks, **constants)


def try_out(device: torch.device) -> None:
    """Compile and run every kernel once."""
    h, bias, norm = (torch.zeros(shape, device=device) for shape in ((1, 1, 2, 2), 1, ()))
    bias_leaky_(h, bias, 0.5)
    leaky_backward_(h, h.clone(), h[:, :, :1, :1], 0.5)
    update_(h, h.clone(), None, 1.0, 0.0, norm)


def _dense(t: Tensor) -> Tensor:
    """`t` with its numbers in the order (n, H, W, C), itself where it has it."""
    return t.contiguous(memory_format=torch.channels_last)


def _launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **constants: Any) -> None:
    with torch.cuda.device_of(first):  # Triton launches on the current device
        kernel[grid](first, *arguments, **constants)


@triton.jit
def _bias_leaky(h_ptr, bias_ptr, size, leak, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    inside = lane < size - first
    channel = ((first % CHANNELS).to(tl.int32) + lane) % CHANNELS
    h = tl.load(h_ptr + first + lane, mask=inside).to(tl.float32) + tl.load(bias_ptr + channel).to(tl.float32)
    tl.store(h_ptr + first + lane, tl.where(h > 0, h, h * leak), mask=inside)


@triton.jit
def _leaky_backward(
    output_ptr,
    g_ptr,
    skip_ptr,
    size,
    leak,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    pixel = at // CHANNELS
    row = pixel // WIDTH  # of all images; each has an even number of them
    above = ((row // 2) * (WIDTH // 2) + (pixel % WIDTH) // 2) * CHANNELS + at % CHANNELS
    g = tl.load(g_ptr + at, mask=inside).to(tl.float32)
    g = tl.where(tl.load(output_ptr + at, mask=inside).to(tl.float32) > 0, g, g * leak)
    g += 0.25 * tl.load(skip_ptr + above, mask=inside).to(tl.float32)
    tl.store(output_ptr + at, g, mask=inside)


@triton.jit
def _update(
    x_ptr,
    g_ptr,
    noise_ptr,
    squares_ptr,
    size,
    blocks,
    step_size,
    noise_std,
    NOISY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = lane < size
    at = image * size + lane
    g = tl.load(g_ptr + at, mask=inside, other=0.0)
    x = tl.load(x_ptr + at, mask=inside) - step_size * g
    if NOISY:
        x += noise_std * tl.load(noise_ptr + at, mask=inside)
    tl.store(x_ptr + at, x, mask=inside)
    tl.store(squares_ptr + image * blocks + tl.program_id(1), tl.sum(g * g, axis=0))


@triton.jit(do_not_specialize_on_alignment=["norm_ptr"])  # the norms of a chain lie side by side
def _mean_norm(
    norm_ptr,
    squares_ptr,
    images,
    blocks,
    BLOCKS: tl.constexpr,
    IMAGES: tl.constexpr,
):
    column = tl.arange(0, BLOCKS)[None, :]
    total = tl.zeros((IMAGES,), dtype=tl.float32)
    for first in range(0, images, IMAGES):
        row = first + tl.arange(0, IMAGES)[:, None]
        there = (row < images) & (column < blocks)
        squares = tl.load(squares_ptr + row.to(tl.int64) * blocks + column, mask=there, other=0.0)
        total += tl.sqrt_rn(tl.sum(squares, axis=1))
    tl.store(norm_ptr, tl.sum(total, axis=0) / images)
