"""What the kernels' tests share: nets and starts, the reference as a contestant, double backward, peers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from bench.contract.seeds import seeded
from ebm.energy import EnergyNet
from ebm.langevin import ChainSettings, langevin
from ebm.reference import langevin_reference
from tests.builders import energy_net, images
from tests.kernels.measure import DEVICE, timed
from tests.kernels.processes import MissingPeerError, Peer

BATCH, K = 64, 20
STEP_SIZE, NOISE_STD = 1.0, 0.01  # the paper's
PEERS = ("published", "torchebm", "ebmkit")


def make(kind: str, channels: int, side: int, n_f: int) -> tuple[EnergyNet, Tensor]:
    net = energy_net(kind, channels, side, n_f).to(device=DEVICE, memory_format=torch.channels_last)
    return net, images(BATCH, (channels, side, side)).to(DEVICE)


def chain_by_reference(net: EnergyNet, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """`ebm/reference.py`, its noise drawn step by step."""

    def noise(_: int) -> Tensor:
        return NOISE_STD * torch.randn(x.shape, generator=generator, device=DEVICE)

    return langevin_reference(net, x, steps=steps, step_size=STEP_SIZE, noise=noise)


def reference(net: EnergyNet, x: Tensor) -> Callable[[int], float]:
    """Seconds of so many steps of the reference: torch's usual layout, its weights asking for gradients."""
    net, generator = copy.deepcopy(net).to(memory_format=torch.contiguous_format), seeded("noise", device=DEVICE)
    return lambda steps: timed(lambda: chain_by_reference(net, x, steps, generator))()


def unrolled_inversion(net: EnergyNet, z: Tensor, images: Tensor, steps: int) -> Tensor:
    """d||images - M(z)||^2 / dz (n, C, H, W) by double backward through all steps of the chain."""
    z = z.detach().requires_grad_()
    x = z
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        x = x - STEP_SIZE * gradient
    (slope,) = torch.autograd.grad((images - x).square().sum(), z)
    return slope


@contextmanager
def peers(net: EnergyNet, start: Tensor, folder: Path) -> Iterator[tuple[dict[str, Peer], dict[str, str]]]:
    """The peers, ready to be timed, and the version (or absence) of each; their processes end with the block."""
    found: dict[str, Peer] = {}
    versions = {}
    try:
        for name in PEERS:
            try:
                found[name] = Peer(name)
            except MissingPeerError:
                versions[name] = "not installed"
                continue
            assert_same_chain(found[name], net, start, folder)
            versions[name] = found[name].version
        yield found, versions
    finally:
        for peer in found.values():
            peer.close()


def assert_same_chain(peer: Peer, net: EnergyNet, start: Tensor, folder: Path) -> None:
    """A peer's step is the engine's noise-free one and Gaussian noise; then it is ready to be timed.

    Steps are long here, so that the gradient of an untrained net is seen beside the noise.
    """
    step = langevin(net, start, ChainSettings(1, 1.0, 0.0)) - start
    long = float(1 / step.std())
    machine = {"device": DEVICE.type, "threads": torch.get_num_threads()}
    peer.load(net, start, folder, step_size=long, noise_std=NOISE_STD, **machine)
    noise = peer.end(1, folder).to(DEVICE) - (start + long * step)
    assert abs(noise.std() / NOISE_STD - 1) < 0.05, f"{peer.name} runs another chain: noise of {noise.std():.3g}"
    assert abs(noise.mean()) < 0.05 * NOISE_STD, f"{peer.name} runs another chain: shifted by {noise.mean():.3g}"
    peer.load(net, start, folder, step_size=STEP_SIZE, noise_std=NOISE_STD, **machine)
