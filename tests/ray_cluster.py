"""A Ray cluster of three nodes on this machine: a head that runs no cells, and two with a CPU each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.results.cell_folder import CellFolder
from bench.results.status import CellStatus

MEMORY = {"object_store_memory": 80 << 20}


@contextmanager
def three_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 Ray's own name; its own 15 starves cells on a busy machine
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **MEMORY})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **MEMORY)
        yield cluster
    finally:
        cluster.shutdown()


def running(cell: CellFolder) -> CellStatus | None:
    """The cell's status while it is trained on a node."""
    status = cell.read_status()
    return status if status is not None and status.state == "training" and status.node else None


def kill_node(cluster: Any, status: CellStatus) -> None:
    """End the node that a cell runs on, as a power cut would, and put another one in its place."""
    (node,) = [one for one in cluster.list_all_nodes() if f"({one.node_id[:6]})" in status.node]
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1, **MEMORY)
