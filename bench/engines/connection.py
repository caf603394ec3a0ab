"""A Ray cluster: reached or refused in one line, and whether its nodes can run the cells."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.engines import mailbox
from bench.errors import UserError, one_line
from bench.machine import runtime

PATIENCE = 30.0  # seconds for a cluster or a node to answer
OPTIONS: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Inside the block this process is the driver of a cluster; UserError where none answers at `address`."""
    import ray

    if ray.is_initialized():  # by who calls this from Python
        yield
        return
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    environment = {"env_vars": {"OMP_NUM_THREADS": threads}}  # else Ray sets it, and numpy rounds otherwise than here
    if address is None:
        ray.init(runtime_env=environment, address="local", **OPTIONS)
    else:
        _knock(address)
        try:
            ray.init(runtime_env=environment, address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"--address {address}: no Ray cluster there ({one_line(error)}): {START}") from None
    try:
        yield
    finally:
        ray.shutdown()


START = "start one with ray start --head, or leave --address out"


def _knock(address: str) -> None:
    """Wait until something answers at HOST:PORT; UserError when nothing has for long."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[\w.:\[\]-]+", host) or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise UserError(
            f"--address {one_line(address)}: give HOST:PORT of a Ray cluster that this machine is in, or auto"
        )
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                reason = error.strerror or error
                raise UserError(
                    f"--address {address}: nobody answers ({reason}) for {PATIENCE:.0f} s: {START}"
                ) from None
        time.sleep(0.5)


def refuse_too_small(cpus: int, gpus: float) -> list[dict[str, Any]]:
    """The nodes that have as many CPUs and GPUs as a cell needs; UserError where there is none."""
    import ray

    def size(node: dict[str, Any]) -> tuple[float, float]:
        return node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)

    nodes = sorted((one for one in ray.nodes() if one["Alive"]), key=size)
    has = [size(one) for one in nodes]
    if not any(c >= cpus and g >= gpus for c, g in has):
        there = ", ".join(f"{c:g} CPUs and {g:g} GPUs" for c, g in has)
        raise UserError(
            f"a cell needs {cpus} CPUs and {gpus:g} GPUs, and no node has that (nodes have {one_line(there)}): "
            "give fewer --cpus-per-cell or --gpus-per-cell"
        )
    return [one for one, (c, g) in zip(nodes, has, strict=True) if c >= cpus and g >= gpus]


def refuse_differing(nodes: Sequence[dict[str, Any]]) -> None:
    """UserError where a node's packages differ from those here, or it cannot work."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own = mailbox.probe(runtime.PACKAGES)
    task = ray.remote(num_cpus=0, max_retries=0)(mailbox.probe)
    asked = {
        f"{one['NodeManagerAddress']} ({one['NodeID'][:6]})": task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(one["NodeID"], soft=False)
        ).remote(runtime.PACKAGES)
        for one in nodes
    }
    for name, reference in asked.items():
        try:
            found = ray.get(reference, timeout=4 * PATIENCE)
        except ray.exceptions.RayError as error:
            reason = one_line(str(error).strip().splitlines()[-1])
            raise UserError(f"node {name} cannot run cells ({reason}): install this project there as here") from None
        if found.get(mailbox.HINDRANCE):
            raise UserError(f"node {name} {found[mailbox.HINDRANCE]}: free some space, or set TMPDIR there")
        differing = [package for package in own if found.get(package) != own[package]]
        if differing:
            words = ", ".join(f"{package} {found.get(package)} there and {own[package]} here" for package in differing)
            raise UserError(f"node {name} has other packages ({one_line(words)}): install the same on every node")
