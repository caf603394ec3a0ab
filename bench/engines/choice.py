"""Which engine the options ask for."""

from __future__ import annotations

import argparse

from bench.engines.local import Local
from bench.engines.prepared import Engine
from bench.grid.together import Leader


def engine_of(arguments: argparse.Namespace, leader: Leader | None = None) -> Engine:
    """The engine of the options that `bench.config.commandline.add_engine` adds; UserError where it cannot be had.

    `leader` leads the ranks that torchrun has started, if it has; `check_engine` refuses what does not go with them.
    """
    if arguments.engine == "local":
        return Local(arguments.jobs, leader)
    from bench.engines.cluster import Cluster  # only here, as it needs Ray

    return Cluster(arguments.address, arguments.cpus_per_cell or 1, arguments.gpus_per_cell)
