"""What a scale costs, by arithmetic: `python -m bench.paper.cost --scale paper --results RESULTS`; nothing is trained.

The operations of an update are counted in the code. What a machine does in a second comes from its own records, or is
stated. Evaluation is not counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.config import registry
from bench.config.commandline import outcome
from bench.config.settings import build
from bench.contract.config import ModelConfig
from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.grid.cell import Cell
from bench.grid.request import plan as cells_of
from bench.grid.reuse import read_sources
from bench.paper import plan as plans
from bench.paper.plan import Plan
from bench.paper.run import request
from bench.report.content.numerals import NONE
from bench.report.tables import markdown
from bench.report.tables.model import Table
from bench.results.record import Record
from bench.scoring.setup import Setup

CPU = torch.device("cpu")
COUNTED = 2  # images of the update that is counted; operations are proportional to their number
CHAINS = ("ebm", "ebm-residual")  # one chain of K steps, whose kernels no counter of torch's knows
COUNTABLE = (*CHAINS, "vae", "dcgan", "flow")
LEARNING = 2 * 3  # image and negative: forward, and backward to activations and to weights, each as many operations
STEP = 2  # forward, and backward to the image
SHAPES = {
    "digits": (1, 8, 8),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "svhn": (3, 32, 32),
    "celeba": (3, 64, 64),
    "lsun-bedroom": (3, 64, 64),
}
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """Cells that differ in their training seed alone."""

    folder: str
    cell: Cell  # the first
    cells: int
    gflop: float  # of an update

    def days(self, rates: Mapping[str, float]) -> float | None:
        """The days of training that a cell takes; None where `rates`, in GFLOP/s, does not have its model."""
        rate = rates.get(self.cell.model)
        return self.gflop * self.cell.config.updates / rate / 86400 if rate else None


def gflop(model: str, factory: Callable[..., Any], config: ModelConfig, shape: Shape) -> float:
    """1e9 operations of convolutions and matrix products in one update; a multiplication and an addition are two.

    UserError for a model that cannot be counted.
    """
    if model not in COUNTABLE:
        raise UserError(f"the operations of {model} cannot be counted: choose models of {', '.join(COUNTABLE)}")
    trainer, images = factory(config, shape, generator=seeded("cost"), device=CPU), torch.zeros(COUNTED, *shape)
    if model in CHAINS:
        (energy,) = trainer.networks
        with torch.no_grad():
            made = _counted(lambda: energy(images)) * (STEP * config.steps + LEARNING)
    else:
        made = _counted(lambda: trainer.step(images, seeded("cost")))
    return made / COUNTED * config.batch_size / 1e9


def _counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def shape_of(cell: Cell) -> Shape:
    """The shape of a cell's images, without reading them; UserError where the data set's name does not tell it."""
    if cell.source not in SHAPES:
        raise UserError(f"the shape of {cell.source} is not known beforehand: choose data sets of {', '.join(SHAPES)}")
    channels, side, _ = SHAPES[cell.source]
    side = cell.data.image_size or side
    return channels, side, side


def rows_of(plan: Plan) -> list[Row]:
    """A row for each configuration of a data set and model; each cell of the plan once."""
    rows = []
    for one in plan.runs():
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells_of(request(Setup(), plan, Path(), "", one)):
            groups.setdefault((cell.dataset, cell.model), []).append(cell)
        for cells in groups.values():
            first = cells[0]
            made = gflop(first.model, first.factory, first.config, shape_of(first))
            rows.append(Row(one.folder, first, len(cells), made))
    return rows


def rates_of(records: Iterable[Record]) -> dict[str, float]:
    """The GFLOP/s of each model's training: those of its fastest finished cell, of the largest net as a rule."""
    found: dict[str, float] = {}
    known: dict[str, float] = {}
    for record in records:
        training, settings = record.data["training"], dict(record.data["config"]["model"])
        if record.model not in COUNTABLE or record.made_elsewhere or not training["seconds"]:
            continue
        key = f"{record.model} {settings} {record.data['data']['image_shape']}"
        if key not in known:
            factory = registry.factory(str(settings.pop("factory")))
            config = build(factory.Config, settings, record.model)
            c, h, w = record.data["data"]["image_shape"]
            known[key] = gflop(record.model, factory, config, (c, h, w))
        rate = known[key] * training["updates"] / training["seconds"]
        found[record.model] = max(rate, found.get(record.model, 0.0))
    return found


def table(rows: Sequence[Row], rates: Mapping[str, float], title: str) -> Table:
    """Operations and, where rates are known, days of training."""

    def days(value: float | None, cells: int = 1) -> str:
        return NONE if value is None else f"{value * cells:,.1f}"

    headers = ("folder", "data set", "model", "cells", "updates", "images", "GFLOP an update", "days a cell", "days")
    lines = []
    for row in rows:
        config, each = row.cell.config, row.days(rates)
        named = (row.folder, row.cell.dataset, row.cell.model, str(row.cells))
        counts = (f"{config.updates:,}", str(config.batch_size), f"{row.gflop:,.1f}")
        lines.append([*named, *counts, days(each), days(each, row.cells)])
    known = [row.cells * each for row in rows if (each := row.days(rates)) is not None]
    whole = f"{sum(known):,.1f}" if len(known) == len(rows) else NONE
    operations = sum(row.gflop * row.cell.config.updates * row.cells for row in rows)
    lines.append(["all", "", "", str(sum(row.cells for row in rows)), "", "", f"{operations:.3g} in all", "", whole])
    told = ", ".join(f"{model} {rate:,.0f}" for model, rate in rates.items())
    notes = (f"GFLOP/s: {told}.",) if told else ()
    return Table.of_rows(title, headers, lines, notes=notes)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.paper.cost", description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--scale", default="paper", help=f"{', '.join(plans.scale_names())}, or a .toml file")
    rate = p.add_mutually_exclusive_group()
    rate.add_argument("--results", nargs="+", type=Path, default=[], help="folders whose records tell the rates")
    rate.add_argument("--gflops", type=float, metavar="R", help="1e9 operations a second, of every model")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Print the table; the exit status."""
    if arguments.gflops is not None and not 0 < arguments.gflops < float("inf"):
        raise UserError(f"--gflops {arguments.gflops:g} is out of range: give a rate above 0")
    plan = plans.load(arguments.scale)
    rows = rows_of(plan)
    rates = rates_of(read_sources(arguments.results))
    if arguments.gflops is not None:
        rates = dict.fromkeys((row.cell.model for row in rows), arguments.gflops)
    print(markdown.render(table(rows, rates, f"Training at scale {plan.scale}"), 2))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    return outcome("bench.paper.cost", lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
