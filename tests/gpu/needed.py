"""What the tests of a real GPU share."""

from __future__ import annotations

import pytest
import torch

from tests.builders import trainer

needs_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
CUDA = torch.device("cuda")


def on_gpu(net: torch.nn.Module) -> torch.nn.Module:
    return net.to(device=CUDA, memory_format=torch.channels_last)


def trainer_on_gpu(name: str = "ebm", shape=(3, 32, 32), **settings):
    return trainer(name, shape, device=CUDA, **settings)


def precisions() -> list[str]:
    """Those that the GPU of this machine has."""
    fast = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    return ["float32", "tf32", *(["bf16"] if fast else [])]


def weights(t) -> torch.Tensor:
    return torch.cat([p.detach().flatten().cpu() for net in t.networks for p in net.parameters()])
