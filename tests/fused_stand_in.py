"""A stand-in for the fused kernels where there is no GPU: torch's operators, and a count of calls."""

from __future__ import annotations

from collections import Counter

import torch
import torch.nn.functional as F

from ebm import engine
from ebm.langevin import update_


class StandIn:
    """`ebm.engine.fused.Kernels`."""

    def __init__(self):
        self.calls = Counter()

    def bias_leaky_(self, h, bias, leak):
        self.calls["bias_leaky_"] += 1
        return F.leaky_relu_(h.add_(bias[:, None, None]), leak)

    def leaky_backward_(self, output, g, skip, leak):
        self.calls["leaky_backward_"] += 1
        made = torch.ops.aten.leaky_relu_backward(g, output, leak, True)
        return output.copy_(made + 0.25 * skip.repeat_interleave(2, 2).repeat_interleave(2, 3))

    def update_(self, *arguments):
        self.calls["update_"] += 1
        update_(*arguments)

    def install(self, device, monkeypatch):
        """On a pretended device, for those that ask by `ebm.engine.fused.kernels`."""
        device.unfused = ""
        monkeypatch.setattr(engine, "triton_kernels", self, raising=False)
        return self
