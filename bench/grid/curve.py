"""Scores on the way of a training: their samples, their curves in the record, and the weights chosen by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.contract.model import GenerativeModel
from bench.contract.scores import Curve
from bench.contract.seeds import derive
from bench.evaluation import Evaluator
from bench.grid.cell import Cell
from bench.grid.training import TrainingResult


def scorer(cell: Cell, evaluator: Evaluator, model: GenerativeModel) -> Callable[[int], float] | None:
    """What scores the model after an update; None for a cell without a curve.

    A function of the weights and of (evaluation seed, update), whatever was drawn before, so that a continued run has
    the same scores.
    """
    if not cell.training.curve:
        return None
    yardstick = evaluator.yardstick(cell.training.curve_samples)
    return lambda update: yardstick.score(model, derive(cell.evaluation_seeds[0], "curve", update)).value


def identity(cell: Cell, evaluator: Evaluator) -> str:
    """All that decides the scores of `scorer` but the weights; empty for a cell without a curve."""
    if not cell.training.curve:
        return ""
    yardstick = evaluator.yardstick(cell.training.curve_samples)
    return f"{yardstick.label} of {yardstick.n} against {yardstick.against}, seed {cell.evaluation_seeds[0]}"


def curves(cell: Cell, evaluator: Evaluator, result: TrainingResult) -> list[Curve]:
    """The scores against updates and against training seconds; none for a cell without a curve."""
    if not result.points:
        return []
    yardstick = evaluator.yardstick(cell.training.curve_samples)
    by_update = Curve(
        name=f"{yardstick.metric} by updates",
        group="samples",
        x_label="updates",
        y_label=f"{yardstick.label}, {yardstick.n:,} images",
        x=tuple(float(point.updates) for point in result.points),
        y=tuple(point.score for point in result.points),
        title=f"{yardstick.metric} by updates, against {yardstick.against}",
    )
    by_seconds = replace(
        by_update,
        name=f"{yardstick.metric} by training seconds",
        x_label="training seconds",
        x=tuple(round(point.seconds, 3) for point in result.points),
        title=f"{yardstick.metric} by training seconds, against {yardstick.against}",
    )
    return [by_update, by_seconds]


def chosen(cell: Cell, evaluator: Evaluator, result: TrainingResult) -> dict[str, Any]:
    """The record's `training.checkpoint`: the rule by which weights were chosen, and those; nothing for the last."""
    if result.chosen is None:
        return {}
    yardstick = evaluator.yardstick(cell.training.curve_samples)
    return {
        "checkpoint": {
            "rule": cell.training.checkpoint,
            "update": result.chosen.updates,
            "score": result.chosen.score,
            "metric": yardstick.label,
            "candidates": len(result.points),
            "samples": yardstick.n,
            "against": yardstick.against,
        }
    }
