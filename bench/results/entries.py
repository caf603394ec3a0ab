"""The one place where scores, curves and throughput become the JSON of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from bench.contract.scores import Curve, Score, Throughput

_WHERE_IT_APPLIES = {one.name for one in fields(Score) if one.default is None} - {"spread", "interval"}


def scores_json(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """An entry of `metrics` for each score, without the fields that do not apply to it and without its range."""
    return [{key: _plain(value) for key, value in vars(one).items() if _told(key, value)} for one in scores]


def _told(key: str, value: Any) -> bool:
    return key != "within" and (value is not None or key not in _WHERE_IT_APPLIES)


class Titled(Protocol):
    """The scores of images that no model made, under the title of their row."""

    title: str
    scores: Sequence[Score]


def references_json(references: Mapping[str, Titled]) -> dict[str, dict[str, Any]]:
    """The record's `references`."""
    return {kind: {"title": one.title, "metrics": scores_json(one.scores)} for kind, one in references.items()}


def curves_json(curves: Iterable[Curve]) -> list[dict[str, Any]]:
    """An entry of `curves` for each curve."""
    return [{k: _plain(v) for k, v in vars(one).items()} | {"title": one.title or one.name} for one in curves]


class Measured(Protocol):
    """Scores and curves of a model with its first weights."""

    scores: Sequence[Score]
    curves: Sequence[Curve]


def untrained_json(untrained: Measured | None) -> dict[str, list[dict[str, Any]]] | None:
    """The record's `untrained`."""
    if untrained is None:
        return None
    return {"metrics": scores_json(untrained.scores), "curves": curves_json(untrained.curves)}


def throughput_json(throughput: Throughput) -> dict[str, Any]:
    """The record's `throughput`."""
    return {k: _plain(v) for k, v in vars(throughput).items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
