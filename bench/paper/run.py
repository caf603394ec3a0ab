"""Run the missing cells of a plan through an engine, which trains no cell twice."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.config.commandline import check_outside, folders_of
from bench.engines.choice import engine_of
from bench.errors import UserError
from bench.grid import grid, reuse
from bench.paper import plan as plans
from bench.paper import toy
from bench.paper.plan import TOY, Plan
from bench.results.cell_folder import CellFolder
from bench.scoring.setup import Setup


def run(arguments: argparse.Namespace, plan: Plan, out: Path, command: str) -> list[str]:
    """Run and return the status of every requested cell, in order. Settings are checked before the first training."""
    _refuse_other_profile(out, plan)
    check_outside(out, *folders_of([name for one in plan.runs() for name in one.datasets]))
    sources = reuse.read_sources(_sources(arguments.reuse, plan, out))
    engine = engine_of(arguments)
    setup = engine.setup(Setup.of(arguments, plan.profile.features))
    requests = [request(setup, plan, out, command, one) for one in plan.runs(arguments.only)]
    evaluators: grid.Evaluators = {}  # shared, because real features and references are the same for every point
    prepared = [(one, grid.prepare(one, evaluators, at_once=engine.at_once)) for one in requests]
    plans.save(out, plan)
    for one in requests:
        reuse.copy(one, sources)
    statuses = engine.complete(prepared, evaluators)
    if not arguments.only or TOY in arguments.only:
        toy.run(out, progress=setup.progress, **plan.toy)
    return statuses


def request(setup: Setup, plan: Plan, out: Path, command: str, one: plans.Run) -> grid.Request:
    """One run of the plan, as a request to the grid."""
    return grid.Request(
        setup=setup,
        profile=plan.profile,
        overrides=one.overrides,
        datasets=one.datasets,
        models=one.models,
        seeds=one.seeds,
        evaluation_seeds=plan.profile.evaluation_seeds,
        out=out / one.folder,
        command=command,
    )


def _refuse_other_profile(out: Path, plan: Plan) -> None:
    """Refuse another profile: points are named by what differs from it, so the names would mean other settings."""
    before = plans.stored(out)
    if before and before.profile != plan.profile:
        raise UserError(
            f"{out} holds a run with another profile ({before.profile.name}, kept in {out / 'profile'}): "
            "choose another --out"
        )


def _sources(asked: Sequence[Path] | None, plan: Plan, out: Path) -> list[Path]:
    """Folders to take finished cells from; without --reuse, the profile's own results if there are any."""
    if asked is not None:
        return list(asked)
    usual = Path("results") / plan.profile.name
    recorded = any(cell.has_record for cell in CellFolder.all_in(usual))
    return [usual] if recorded and usual.resolve() != out.resolve() else []
