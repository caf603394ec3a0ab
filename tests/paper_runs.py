"""Paper runs without training: every cell of a plan as a fabricated record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.paper import plan as plans
from tests import fabricate

Change = Callable[[str, str, int], dict[str, Any] | None]  # results folder, model, seed -> settings of the record


def as_usual(folder: str, model: str, seed: int) -> dict[str, Any] | None:
    return {}


def write(out: Path, plan: plans.Plan, change: Change = as_usual, *, pictures: bool = False) -> Path:
    """Write the plan and its cells; `change` gives further arguments of `fabricate.record`, None leaves a cell out.

    Scores differ by folder, model and seed; the energy model's settings are those of its folder.
    """
    plans.save(out, plan)
    for run in plan.runs():
        for dataset in run.datasets:
            for model in run.models:
                for seed in run.seeds:
                    more = change(run.folder, model, seed)
                    if more is None:
                        continue
                    kid = 0.01 * (1 + 0.1 * seed) * (1 + plan.folders.index(run.folder)) * len(model)
                    record = fabricate.record(dataset, model, seed, **({"kid": kid, "mse": kid} | more))
                    if model == "ebm":
                        settings = plan.profile.settings(dataset, "ebm") | run.overrides.get("ebm", {})
                        record["config"]["model"] |= settings
                    fabricate.cell(out / run.folder, record, pictures=pictures)
    return out
