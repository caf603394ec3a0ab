"""What must stand below a table for nobody to take a reduced run for a replication: every setting that differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.paper.measured import Part
from bench.paper.plan import MODEL, SETTINGS, Ablation
from bench.paper.reported import UNCONFIRMED, reported
from bench.report.content.numerals import NONE, count
from bench.report.content.outcomes import outcome
from bench.results.record import Record

NAMES = {"steps": "K", "energy_penalty": "energy penalty", "batch_size": "batch size", "noise_std": "chain noise"}
_SHOWN = {"2": ("steps", "sigma"), "3a": ("sigma",), "3b": ("n_f",)}  # stand in columns


def comparison(table: str, parts: dict[str, Part]) -> list[str]:
    """Of Table 1a or 1b; `parts` by data set."""
    there = ", ".join(facts["title"] for facts in reported().datasets.values())
    lines = [f"Reported: table {table} of {reported().source}, on {there}. Measured: {', '.join(parts)}."]
    lines += _never_compared(table, parts.values())
    for dataset, part in parts.items():
        lines += _differences(table, part, {"n_f": reported().datasets.get(dataset, {}).get("n_f", "64 or 128")})
    if any(record.model != MODEL for part in parts.values() for record in part.records):
        lines.append("The baselines' settings are docs/models.md's; the paper's are not known to this file.")
    if table == "1b":
        lines.append(
            "Measured errors are per pixel and channel of images in [-1, 1], at the budgets stated; "
            "the paper's range of pixel values is not known to this file."
        )
    return lines + _reading(parts.values(), table)


def ablation(one: Ablation, part: Part) -> list[str]:
    """Of Table 2, 3a or 3b."""
    theirs = ", ".join(f"{_name(key)} = {value:g}" for key, value in _paper_fixed(one).items())
    lines = [f"Reported: table {one.table} of {reported().source}, on CIFAR-10, {theirs}. Measured: {part.dataset}."]
    lines += _never_compared(one.table, [part])
    lines += _differences(one.table, part, {})
    if one.table == "2":
        lines.append("gradient norm: mean of ||f'(x)|| over the steps of a sample's chain.")
    lines.append(f"{NONE}: the paper does not report it, or this scale does not hold it.")
    return lines + _reading([part], one.table)


def _paper_fixed(one: Ablation) -> dict[str, float]:
    values = reported().of(one.table)
    found = {name: {getattr(value, name) for value in values} for name in SETTINGS}
    return {name: own.pop() for name, own in found.items() if len(own) == 1 and name not in _SHOWN[one.table]}


def _never_compared(table: str, parts: Iterable[Part]) -> list[str]:
    if all(comparable(table, part) for part in parts):
        return []
    return ["Where images or features differ, reported and measured numbers stand side by side and cannot be compared."]


def comparable(table: str, part: Part) -> bool:
    """Whether a score under the paper's name means the same here: its images and, for IS and FID, its features."""
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        return False
    extractors = {metric.get("extractor") for record in part.records for metric in record.metrics} - {None}
    return table == "1b" or extractors == {reported().settings["extractor"]}


def _differences(table: str, part: Part, own: dict[str, Any]) -> list[str]:
    """One sentence of all settings that differ from the paper's."""
    finished = [record for record in part.records if record.finished]
    if not part.records:
        return [f"{part.dataset}: nothing has been measured yet."]
    paper, data = reported().settings, part.records[0].data["data"]
    found = []
    if part.dataset not in {value.dataset for value in reported().of(table)}:
        found.append(f"data set {part.dataset}, {' × '.join(map(str, data['image_shape']))}")
    if data["train"] != paper["images"]:
        found.append(f"{count(data['train'], 'training image')} ({paper['images']:,})")
    found += _scores(table, finished)
    found += _model([r for r in part.records if r.model == MODEL], paper[MODEL] | own, _SHOWN.get(table, ()))
    seeds = ", ".join(str(seed) for seed in sorted({record.seed for record in part.records}))
    found.append(f"training seeds {seeds} (their number is not stated)")
    profiles = ", ".join(dict.fromkeys(record.data["profile"] for record in part.records))
    return [
        f"{part.dataset}, profile {profiles}: a run that differs from the paper's, whose values stand in brackets: "
        f"{'; '.join(found)}."
    ]


def _scores(table: str, finished: Sequence[Record]) -> list[str]:
    """Extractor and counts."""
    paper, metrics = reported().settings, finished[0].metrics if finished else []
    found = []
    if table == "1b":
        n = next((metric.get("n") for metric in metrics if metric["name"] == "MSE"), None)
        return [f"{count(n, 'image')} reconstructed ({paper['reconstructions']:,})"] if n else []
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


def _model(records: Sequence[Record], paper: dict[str, Any], shown: Sequence[str]) -> list[str]:
    """The energy model's settings; those that stand in columns are left out."""
    found = []
    configs = [record.data["config"]["model"] for record in records]
    for name, theirs in paper.items():
        here = dict.fromkeys(config[name] for config in configs if name in config)
        if name in shown or not here or list(here) == [theirs]:
            continue
        own = " or ".join(_value(value) for value in here)
        final = dict.fromkeys(config.get(f"{name}_final") for config in configs) if name in ("lr", "sigma") else {}
        if len(here) == 1 and len(final) == 1 and (last := next(iter(final))) not in (None, *here):
            own += f" falling to {_value(last)}"
        found.append(f"{_name(name)} {own} ({_value(theirs)})")
    return found


def _name(setting: str) -> str:
    return NAMES.get(setting, setting)


def _value(value: Any) -> str:
    return f"{value:,}" if type(value) is int else f"{value:g}" if type(value) is float else str(value)


def _reading(parts: Iterable[Part], table: str) -> list[str]:
    """How to read the entries, and what became of every cell that did not simply finish."""
    parts = list(parts)
    planned = max(line.planned for part in parts for line in part.lines)
    lines = []
    if planned > 1:
        lines.append(
            "Measured: mean ± half the width of its 95 % t interval over the finished training seeds; of a single "
            "seed, in brackets, the 95 % bootstrap interval over images."
        )
    else:
        lines.append("Measured: one training seed, in brackets the 95 % bootstrap interval over images.")
    if any(not value.confirmed for value in reported().of(table)):
        lines.append(f"{UNCONFIRMED}: the reported number still has to be confirmed against the paper.")
    for part in parts:
        for line in part.lines:
            name = f"{line.point.folder}" if line.point else line.row.label
            for record in line.row.records:
                if not record.finished:
                    message = record.data["message"]
                    end = outcome(record) + (f" ({message})" if message else "")
                    lines.append(f"{part.dataset}, {name}, seed {record.seed}: {end}.")
    return lines
