"""The grid of cells (data set, model, training seed): refuse what cannot go well, run what is not there yet.

A cell's way: planned (`request.py`), prepared here, run (`run.py`), recorded and written (`outcome.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from bench.data import ImageData
from bench.errors import UserError
from bench.evaluation import Evaluator
from bench.grid import outcome, say, space, together
from bench.grid.cell import Cell
from bench.grid.crew import NOBODY
from bench.grid.request import Request, plan
from bench.grid.run import run_cell
from bench.grid.together import Leader
from bench.machine import ranks, runtime
from bench.results.cell_folder import read_all
from bench.results.record import Record, first_difference
from bench.results.status import CellStatus
from bench.tracking import Trackers

WAIT = 2.0  # seconds between looks at cells that other processes work on

Evaluators = dict[tuple[object, ...], Evaluator]  # by all that decides one; requests may share them


def prepare(request: Request, evaluators: Evaluators, *, at_once: int = 1) -> list[Cell]:
    """All cells of a request, after everything was refused that can be, with nothing written and nothing trained.

    `evaluators` gets those that the cells need. `at_once` cells are going to be trained side by side.
    """
    setup = request.setup
    setup.configure()
    cells = plan(request)
    if not evaluators:
        say(f"device: {runtime.described(setup.device)}")
    space.refuse_unwritable(request.out)
    records = read_all(request.out)
    _refuse_conflicts(cells, records, setup.extractor.label)
    kept = most = 0  # bytes on the disk
    for cell in cells:
        cell.check_device(setup.device)
        key = evaluator_key(cell, request)
        if key not in evaluators:
            evaluators[key] = setup.evaluator(cell.source, cell.data, cell.evaluation)
            for note in evaluators[key].data.notes:
                say(f"{cell.dataset}: {note}")
            if cell.training.curve:
                evaluators[key].yardstick(cell.training.curve_samples)  # refuses what no score can be of
        if cell.seed == request.seeds[0]:
            images = evaluators[key].data
            _refuse_other_images(records, cell, images)
            trainer = cell.new_trainer(images.image_shape, torch.device("cpu"))
            if ranks.count() > 1:
                together.refuse(cell, trainer, setup.device)
            same = [one for one in cells if (one.source, one.model) == (cell.source, cell.model)]
            missing = sum(not one.folder.has_record for one in same)
            kept += missing * space.when_done(trainer)
            best = cell.training.checkpoint == "best"
            most = max(most, space.while_training(trainer, best=best) if missing else 0)
    space.refuse_full(request.out, kept + at_once * most)
    return cells


def complete(request: Request, cells: list[Cell], evaluators: Evaluators, leader: Leader | None = None) -> list[str]:
    """Run every cell of `prepare` that has no record yet; the status of all cells in order.

    Several processes may run one grid: each takes the cells that no other one works on, and comes back to the rest
    until they are there, or free.
    """
    announce(cells)
    statuses: dict[int, str] = {}
    told = False
    while len(statuses) < len(cells):
        before = len(statuses)
        for index, cell in enumerate(cells):
            if index in statuses:
                continue
            with cell.folder.held() as own:
                if own:
                    evaluator = evaluators[evaluator_key(cell, request)]
                    statuses[index] = one(cell, evaluator, request, title_of(cells, index), leader)
        if len(statuses) == before:
            if not told:
                say(f"waiting for {len(cells) - len(statuses)} cells that another process works on")
            told = True
            time.sleep(WAIT)
    return [statuses[index] for index in range(len(cells))]


def announce(cells: Sequence[Cell]) -> None:
    """Write the status of cells that nobody has begun, for who watches from another process."""
    for cell in cells:
        with cell.folder.held() as own:  # else another process tells of it
            if own and not cell.folder.has_record and cell.folder.read_status() is None:
                cell.folder.write_status(CellStatus("waiting", updates=cell.config.updates))


def title_of(cells: Sequence[Cell], index: int) -> str:
    """A cell's name in what is said of a run: `[2/9] digits vae seed 0`."""
    return f"[{index + 1}/{len(cells)}] {cells[index].title}"


def recorded(cell: Cell) -> str:
    """The status of a cell that has a record, after what its training left is gone. The caller holds its lock."""
    status = cell.folder.read_record().data["status"]
    cell.folder.clean_up(status)
    return status


def one(cell: Cell, evaluator: Evaluator, request: Request, title: str, leader: Leader | None = None) -> str:
    """Run one cell to its record, unless it has one; its status. The caller holds its lock.

    A `leader` makes its updates with the ranks that it leads.
    """
    if cell.folder.has_record:
        status = recorded(cell)
        say(f"{title}: already there ({status})")
        return status
    started = time.monotonic()
    cell.folder.sweep()
    device = request.setup.device
    named = {"dataset": cell.dataset, "label": cell.model, "training_seed": cell.seed}
    trackers = Trackers(request.track, cell.folder, named | cell.settings(evaluator.extractor.label))
    try:
        found = run_cell(
            cell,
            evaluator,
            trackers,
            device=device,
            title=title,
            progress=request.setup.progress,
            crew=leader.crew(cell, request.setup, evaluator.data.content_hash) if leader else NOBODY,
            sampling=request.setup.sampling,
        )
        record = outcome.record_of(
            cell, evaluator, found, device=device, profile=request.profile.name, command=request.command
        )
        outcome.write(cell, found, record)
        trackers.finished(record, cell.folder.picture_path("samples"))
    finally:
        trackers.close()
    message = f": {found.message}" if found.message else ""
    say(f"{title}: {found.status}{message} after {time.monotonic() - started:.0f} s")
    return found.status


def evaluator_key(cell: Cell, request: Request) -> tuple[object, ...]:
    """What decides a cell's evaluator, among `Evaluators`."""
    return cell.source, cell.data, cell.evaluation, request.setup


def _refuse_conflicts(cells: list[Cell], records: list[Record], extractor: str) -> None:
    """One folder, one protocol: a data set's records share its settings, a model's records the model's."""
    one_of_each = {(cell.dataset, cell.model): cell for cell in reversed(cells)}.values()  # seeds share their settings
    for record in records:
        for cell in one_of_each:
            if cell.dataset != record.dataset:
                continue
            there, here = dict(record.data["config"]), cell.settings(extractor)
            if cell.model != record.model:
                there.pop("model"), here.pop("model")
            difference = first_difference(there, here)
            if difference:
                raise UserError(
                    f"{cell.out} holds records of {record.dataset} / {record.model} with another configuration "
                    f"({difference}): choose another --out, or move those records away"
                )


def _refuse_other_images(records: list[Record], cell: Cell, images: ImageData) -> None:
    for record in records:
        if record.dataset == images.name and record.data["data"]["content_hash"] != images.content_hash:
            raise UserError(
                f"{cell.out} holds records of other images called {images.name!r}: choose another --out, "
                "or move those records away"
            )
