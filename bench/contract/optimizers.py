"""Optimizers put back from a checkpoint as fast as they were."""

from __future__ import annotations

from typing import Any

from torch import Tensor, empty_like
from torch.optim import Optimizer


def load_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load `state`, whose tensors are on the CPU, and lay each moment out in memory as its weight is.

    A checkpoint keeps no strides, and on a GPU moments that lie otherwise than their weights are updated one by one
    instead of all together. Adam's count of steps stays on the CPU: it is read at every update.
    """
    optimizer.load_state_dict(state)
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.ndim and value.shape == weight.shape:
                kept[name] = empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)
