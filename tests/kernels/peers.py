"""Samplers that the engine is timed against, each run in a process of its own: this file is also their worker.

    python tests/kernels/peers.py NAME       # answers requests, one JSON object a line, on stdin and stdout

It imports torch and the one peer asked for, of this project at most the published chain, which imports torch alone:
ebmkit's import name is `ebm`, as this project's.
The allocator is left as it is, and the nets are plain `nn.Sequential`s in torch's usual layout.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Chain = Callable[[Tensor, int], Tensor]  # (x_0, steps) -> x_K
Layers = list[tuple[Tensor, Tensor]]  # weight and bias of each convolution of the plain net, in order


def plain_sequence(layers: Layers) -> nn.Sequential:
    """The plain net's f = -E, (n, C, S, S) -> (n, 1, 1, 1): 3x3, then 4x4 with stride 2, then 4x4 to one number."""
    modules: list[nn.Module] = []
    for i, (weight, bias) in enumerate(layers):
        last = i == len(layers) - 1
        stride, padding = (1, 1) if i == 0 else (1, 0) if last else (2, 1)
        shape = (weight.shape[1], weight.shape[0], weight.shape[-1], stride, padding)
        convolution = nn.utils.skip_init(nn.Conv2d, *shape)  # first weights would draw from the global random state
        convolution.load_state_dict({"weight": weight, "bias": bias})
        modules += [convolution] if last else [convolution, nn.LeakyReLU(0.2)]
    return nn.Sequential(*modules)


def published(net: nn.Module, step_size: float, noise_std: float) -> Chain:
    from baselines.published_chain import published_chain

    return lambda x, steps: published_chain(net, x, steps, step_size=step_size, noise_std=noise_std)


def torchebm(net: nn.Module, step_size: float, noise_std: float) -> Chain:
    from torchebm.core import BaseModel
    from torchebm.samplers import LangevinDynamics

    class Energy(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return -self.net(x).flatten()

    # its noise is noise_scale * sqrt(2 * step_size)
    sampler = LangevinDynamics(Energy(), step_size=step_size, noise_scale=noise_std / math.sqrt(2 * step_size))
    return lambda x, steps: sampler.sample(x=x, n_steps=steps)


def ebmkit(net: nn.Module, step_size: float, noise_std: float) -> Chain:
    from ebm import EnergyModel, LangevinDynamics  # ebmkit's: the parent put its folder first on this process's path

    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return -self.net(x)

    energy, sampler = EnergyModel(Energy()), LangevinDynamics(step_size=step_size, noise_scale=noise_std)
    return lambda x, steps: sampler.sample(energy, x, steps=steps)


def trivial(net: nn.Module, step_size: float, noise_std: float) -> Chain:
    """For the test of the protocol: noise-free descent on |x|^2 / 2; chatters on stdout, as a library may."""

    def chain(x: Tensor, steps: int) -> Tensor:
        print("a word that is no answer")
        if steps < 0:
            raise ValueError(f"steps={steps}")
        return x * (1 - step_size) ** steps

    return chain


# name -> (its sampler, the distribution that it needs)
PEERS: dict[str, tuple[Callable[[nn.Module, float, float], Chain], str]] = {
    "published": (published, "torch"),
    "torchebm": (torchebm, "torchebm"),
    "ebmkit": (ebmkit, "ebmkit"),
    "trivial": (trivial, "torch"),
}


def serve(name: str) -> None:
    """Answer requests until stdin ends; whatever a library prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    make, distribution = PEERS[name]
    try:
        answer(version=importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return answer(missing=distribution)
    worker = Worker(make)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(**getattr(worker, request.pop("do"))(**request))
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


class Worker:
    """One net and one sampler at a time; each method is a request and returns its answer."""

    def __init__(self, make: Callable[[nn.Module, float, float], Chain]):
        self.make = make

    def load(self, path: str, device: str, threads: int, step_size: float, noise_std: float) -> dict[str, Any]:
        """Take weights and a start, as `torch.save`d by the parent; float32 stays float32 on a GPU too."""
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False
        layers, start = torch.load(path, weights_only=True, map_location=device)
        self.start = start.contiguous()
        self.chain = self.make(plain_sequence(layers).to(device), step_size, noise_std)
        return {"loaded": True}

    def time(self, steps: int) -> dict[str, Any]:
        """Seconds of one chain from the start."""
        self._wait()
        started = time.perf_counter()
        self.chain(self.start, steps)
        self._wait()
        return {"seconds": time.perf_counter() - started}

    def end(self, path: str, steps: int) -> dict[str, Any]:
        """Save a chain's end, so that the parent can see that it is the same chain."""
        torch.save(self.chain(self.start, steps).cpu(), path)
        return {"saved": True}

    def _wait(self) -> None:
        if self.start.is_cuda:
            torch.cuda.synchronize()


if __name__ == "__main__":
    serve(sys.argv[1])
