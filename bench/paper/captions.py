"""The notes below a table: every setting that differs, so that nobody takes a reduced run for a replication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.paper.measured import planned
from bench.paper.plan import MODEL, SETTINGS, SYMBOLS, Ablation
from bench.paper.reported import UNCONFIRMED, reported
from bench.report.content.numerals import NONE, count, listed, once
from bench.report.content.outcomes import outcome
from bench.report.content.sections import Section

_NAMES = SYMBOLS | {"energy_penalty": "energy penalty", "batch_size": "batch size", "noise_std": "chain noise"}
_SHOWN = {"2": ("steps", "sigma"), "3a": ("sigma",), "3b": ("n_f",)}  # settings that have a column


def comparison(table: str, parts: dict[str, Section]) -> list[str]:
    """The sentences below Table 1a or 1b; `parts` maps data sets to what was measured."""
    there = ", ".join(facts["title"] for facts in reported().datasets.values())
    lines = [_sources(table, there, ", ".join(parts)), *_never_compared(table, list(parts.values()))]
    for dataset, part in parts.items():
        n_f = reported().datasets.get(dataset, {}).get("n_f", "64 or 128")
        lines.append(_differences(table, part, reported().settings[MODEL] | {"n_f": n_f}))
    if any(record.model != MODEL for part in parts.values() for record in part.records):
        lines.append("The baselines' settings are docs/models.md's; the paper's are not known to this file.")
    if table == "1a":
        lines += _inception(list(parts.values()))
    if table == "1b":
        lines.append(
            "Measured errors are per pixel and channel of images in [-1, 1], at the budgets stated; "
            "the paper's range of pixel values is not known to this file."
        )
    return lines + _reading(list(parts.values()), table)


def ablation(one: Ablation, part: Section) -> list[str]:
    """The sentences below Table 2, 3a or 3b."""
    values = reported().of(one.table)
    stated = {name: {getattr(value, name) for value in values} for name in SETTINGS if name not in _SHOWN[one.table]}
    fixed = [f"{SYMBOLS[name]} = {own.pop():g}" for name, own in stated.items() if len(own) == 1]
    lines = [_sources(one.table, ", ".join(["CIFAR-10", *fixed]), part.dataset), *_never_compared(one.table, [part])]
    lines.append(_differences(one.table, part, reported().settings[MODEL]))
    if one.table == "2":
        lines.append("gradient norm: mean of ||f'(x)|| over the steps of a sample's chain.")
    lines += _inception([part])
    lines.append(f"{NONE}: the paper does not report it, or this scale does not hold it.")
    return lines + _reading([part], one.table)


def _inception(parts: Sequence[Section]) -> list[str]:
    """What keeps the Inception Score from saying here what it says in the paper."""
    lines = []
    for part in parts:
        finished = [record for record in part.records if record.finished]
        scores = [score for record in finished if (score := record.metric("IS"))]
        if finished and not scores:
            lines.append(
                f"{part.dataset}: no IS, which presumes natural images; evaluation.metrics can name it all the same."
            )
        elif scores and scores[0]["better"] == "none":
            lines.append(f"{part.dataset}: IS {scores[0]['note'].rpartition('; ')[2]}.")
    return lines


def _sources(table: str, there: str, here: str) -> str:
    return f"Reported: table {table} of {reported().source}, on {there}. Measured: {here}."


def _never_compared(table: str, parts: Sequence[Section]) -> list[str]:
    if all(comparable(table, part) for part in parts):
        return []
    return ["Where images or features differ, reported and measured numbers stand side by side and cannot be compared."]


def comparable(table: str, part: Section) -> bool:
    """Whether a score under the paper's name means the same here: its images and, for IS and FID, its features."""
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        return False
    extractors = {metric.get("extractor") for record in part.records for metric in record.metrics} - {None}
    return table == "1b" or extractors == {reported().settings["extractor"]}


def _differences(table: str, part: Section, model: dict[str, Any]) -> str:
    """One sentence with all settings that differ from the paper's; `model` holds those of its energy model."""
    records = part.records
    if not records:
        return f"{part.dataset}: nothing has been measured yet."
    paper, data = reported().settings, records[0].data["data"]
    found = []
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        found.append(f"data set {part.dataset}, {' × '.join(map(str, data['image_shape']))}")
    if data["train"] != paper["images"]:
        found.append(f"{count(data['train'], 'training image')} ({paper['images']:,})")
    metrics = next((record.metrics for record in records if record.finished), [])
    found += _reconstructed(metrics) if table == "1b" else _generated(metrics)
    configs = [record.data["config"]["model"] for record in records if record.model == MODEL]
    found += [
        text
        for name, theirs in model.items()
        if name not in _SHOWN.get(table, ()) and (text := _setting(name, theirs, configs))
    ]
    found.append(f"training seeds {listed(sorted({r.seed for r in records}))} (their number is not stated)")
    profiles = ", ".join(once(record.data["profile"] for record in records))
    return (
        f"{part.dataset}, profile {profiles}: a run that differs from the paper's, whose values stand in brackets: "
        f"{'; '.join(found)}."
    )


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


def _reading(parts: Sequence[Section], table: str) -> list[str]:
    """How to read the entries, and what happened to every cell that did not finish."""
    lines = ["Measured: one training seed, in brackets the 95 % bootstrap interval over images."]
    if any(planned(row) > 1 for part in parts for row in part.rows):
        lines = [
            "Measured: mean ± half the width of its 95 % t interval over the finished training seeds; of a single "
            "seed, in brackets, the 95 % bootstrap interval over images."
        ]
    if any(not value.confirmed for value in reported().of(table)):
        lines.append(f"{UNCONFIRMED}: the reported number still has to be confirmed against the paper.")
    for part in parts:
        for label, record in ((row.label, record) for row in part.rows for record in row.failed):
            message = f" ({record.data['message']})" if record.data["message"] else ""
            lines.append(f"{part.dataset}, {label}, seed {record.seed}: {outcome(record)}{message}.")
    return lines
