"""The notes below a table: every setting that differs, so that nobody takes a reduced run for a replication."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.paper.measured import planned
from bench.paper.plan import MODEL, SETTINGS, SYMBOLS, Ablation
from bench.paper.reported import UNCONFIRMED, reported
from bench.report.content import captions
from bench.report.content.numerals import NONE, count, listed
from bench.report.content.sections import Section
from bench.report.content.sentences import written

_NAMES = SYMBOLS | {"energy_penalty": "energy penalty", "batch_size": "batch size", "noise_std": "chain noise"}
_SHOWN = {"2": ("steps", "sigma"), "3a": ("sigma",), "3b": ("n_f",)}  # settings that have a column


def comparison(table: str, parts: dict[str, Section]) -> list[str]:
    """The sentences below Table 1a or 1b; `parts` maps data sets to what was measured."""
    return _notes(table, listed(facts["title"] for facts in reported().datasets.values()), list(parts.values()))


def ablation(one: Ablation, part: Section) -> list[str]:
    """The sentences below Table 2, 3a or 3b."""
    values = reported().of(one.table)
    stated = {name: {getattr(value, name) for value in values} for name in SETTINGS if name not in _SHOWN[one.table]}
    fixed = [f"{SYMBOLS[name]} = {own.pop():g}" for name, own in stated.items() if len(own) == 1]
    return _notes(one.table, listed(["CIFAR-10", *fixed]), [part])


def _notes(table: str, there: str, parts: Sequence[Section]) -> list[str]:
    """All sentences; `there` says on what the paper reports."""
    stated = written(
        Path(__file__).parent / "templates/notes.txt",
        table=table,
        source=reported().source,
        there=there,
        parts=parts,
        comparable=all(comparable(table, part) for part in parts),
        differences=lambda part: _differences(table, part),
        baselines=any(record.model != MODEL for part in parts for record in part.records),
        dash=NONE,
        several=any(planned(row) > 1 for part in parts for row in part.rows),
        unconfirmed=any(not value.confirmed for value in reported().of(table)),
        mark=UNCONFIRMED,
    )
    return [*stated, *captions.checkpoints(parts), *captions.failed(parts)]


def comparable(table: str, part: Section) -> bool:
    """Whether a score under the paper's name means the same here: its images and, for IS and FID, its features."""
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        return False
    extractors = {metric.get("extractor") for record in part.records for metric in record.metrics} - {None}
    return table == "1b" or extractors == {reported().settings["extractor"]}


def _differences(table: str, part: Section) -> list[str]:
    """Every setting that differs from the paper's."""
    records = part.records
    paper, data = reported().settings, records[0].data["data"]
    model = dict(paper[MODEL])
    if table in ("1a", "1b"):
        model["n_f"] = reported().datasets.get(part.dataset, {}).get("n_f", "64 or 128")
    found = []
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        found.append(f"data set {part.dataset}, {' × '.join(map(str, data['image_shape']))}")
    if data["train"] != paper["images"]:
        found.append(f"{count(data['train'], 'training image')} ({paper['images']:,})")
    metrics = next((record.metrics for record in records if record.finished), [])
    found += _reconstructed(metrics) if table == "1b" else _generated(metrics)
    configs = [record.data["config"]["model"] for record in records if record.model == MODEL]
    own = {name: theirs for name, theirs in model.items() if name not in _SHOWN.get(table, ())}
    found += filter(None, (_setting(name, theirs, configs) for name, theirs in own.items()))
    return [*found, f"training seeds {listed(part.seeds)} (their number is not stated)"]


def _reconstructed(metrics: list[dict[str, Any]]) -> list[str]:
    n = next((metric.get("n") for metric in metrics if metric["name"] == "MSE"), None)
    return [f"{count(n, 'image')} reconstructed ({reported().settings['reconstructions']:,})"] if n else []


def _generated(metrics: list[dict[str, Any]]) -> list[str]:
    """The differences in extractor and counts."""
    paper, found = reported().settings, []
    metric = next((metric for metric in metrics if metric.get("extractor")), None)
    if metric and metric["extractor"] != paper["extractor"]:
        size = f" at {metric['resize']} pixels" if metric.get("resize") else ""
        found.append(f"features of {metric['extractor']}{size} ({paper['extractor']})")
    if metric and metric["n_generated"] != paper["generated"]:
        found.append(
            f"{count(metric['n_generated'], 'generated image')} against {metric['n_real']:,} real ones "
            f"({paper['generated']:,} generated)"
        )
    return found


def _setting(name: str, theirs: Any, configs: list[dict[str, Any]]) -> str:
    """One of the energy model's settings, here and in the paper; empty if they are equal."""
    here = list(dict.fromkeys(config[name] for config in configs if name in config))
    if here in ([], [theirs]):
        return ""
    own = " or ".join(map(_value, here))
    final = {config.get(f"{name}_final") for config in configs} if name in ("lr", "sigma") else set()
    if len(here) == len(final) == 1 and (last := final.pop()) not in (None, *here):
        own += f" falling to {_value(last)}"
    return f"{_NAMES.get(name, name)} {own} ({_value(theirs)})"


def _value(value: Any) -> str:
    return f"{value:,}" if type(value) is int else f"{value:g}" if type(value) is float else str(value)
