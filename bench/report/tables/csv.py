"""table.csv (a row per dataset, protocol and model or reference) and cells.csv (a row per cell), in full precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.content.ranking import Ranking, rank, sampling_share
from bench.report.content.sections import Reference, Row, Section, Summary
from bench.results.record import Record
from bench.storage.files import write_text

# What a reader needs to know which rows compare, where the record has it.
_METRIC_FACTS = {  # field of a metric -> its column, after the label; "n" alone already counts the seeds
    **{name: name for name in ("extractor", "resize", "weights_hash", "n_real", "n_generated", "points")},
    "n": "measured on",
    "budget": "budget",
    "budget_unit": "budget unit",
}
_OVER_SEEDS = "t interval of the mean over training seeds"


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Write table.csv and cells.csv; their paths."""
    outputs = {
        "table.csv": [line for section in sections for line in _table(section)],
        "cells.csv": [line for section in sections for row in section.rows for line in _cells(section, row, root)],
    }
    for name, lines in outputs.items():
        # dtype=object: an integer column with a gap stays integer instead of turning into 700.0
        frame = pd.DataFrame(lines, dtype=object)
        write_text(root / name, frame.to_csv(index=False, lineterminator="\n"))
    return [root / name for name in outputs]


def _table(section: Section) -> list[dict[str, Any]]:
    ranking = rank(section)
    models = [_model(section, row, ranking) for row in section.rows]
    return [*models, *(_reference(section, reference) for reference in section.references)]


def _model(section: Section, row: Row, ranking: Ranking) -> dict[str, Any]:
    line: dict[str, Any] = {
        "dataset": section.dataset,
        "protocol": section.number,
        "kind": "model",
        "model": row.label,
        "profile": row.fact("profile"),
        "status": row.status,
        "seeds finished": len(row.finished),
        "seeds diverged": len(row.diverged),
        "seeds out of memory": len(row.failed) - len(row.diverged),
        "seeds without a record": len(row.absent),
        "parameters": row.fact("parameters"),
        "parameters trained": row.fact("parameters_trained"),
        "planned updates": (row.fact("training") or {}).get("planned_updates"),
        "network evaluations per sample": row.fact("network_evaluations_per_sample"),
        "device": (row.fact("environment") or {}).get("device"),
    }
    line |= _statistics("training seconds", row.summary(lambda record: record.data["training"]["seconds"]))
    line |= _statistics("samples per second", row.summary(lambda record: record.samples_per_second))
    for metric in section.metrics:
        name, label = metric["name"], metric["label"]
        own = next((found for record in row.finished if (found := record.metric(name))), None)
        line |= _statistics(label, row.score(name), own)
        line |= {f"{label} better": metric["better"], f"{label} lead": metric is section.lead}
        line |= {f"{label} best": ranking.best.get(name) == row.label}
        share = sampling_share(row, name)
        low, high = share.interval if share else (None, None)
        line |= {f"{label} sampling share of variance": share.value if share else None}
        line |= {f"{label} sampling share 95% low": low, f"{label} sampling share 95% high": high}
        line |= _facts(label, own)
    return line


def _reference(section: Section, reference: Reference) -> dict[str, Any]:
    line: dict[str, Any] = {"dataset": section.dataset, "protocol": section.number}
    line |= {"kind": reference.kind, "model": reference.title}
    for metric in section.metrics:
        if own := reference.metrics.get(metric["name"]):
            label = metric["label"]
            line |= _statistics(label, Summary(own["value"], None, 1), own) | _facts(label, own)
    return line


def _statistics(label: str, summary: Summary | None, entry: dict[str, Any] | None = None) -> dict[str, Any]:
    """Mean, deviation, count and 95 % interval: of the mean over seeds or, for a single one, the entry's own."""
    line: dict[str, Any] = {f"{label} mean": None, f"{label} std": None, f"{label} n": 0}
    low = high = of = None
    if summary is not None:
        line = {f"{label} mean": summary.mean, f"{label} std": summary.std, f"{label} n": summary.n}
        if summary.half is not None:
            low, high, of = summary.mean - summary.half, summary.mean + summary.half, _OVER_SEEDS
        elif entry and entry["interval"]:
            low, high, of = *entry["interval"], entry["interval_of"]
    return line | {f"{label} 95% low": low, f"{label} 95% high": high, f"{label} interval of": of}


def _facts(label: str, entry: dict[str, Any] | None) -> dict[str, Any]:
    entry = entry or {}
    facts = {column: entry.get(field) for field, column in _METRIC_FACTS.items()}
    return {f"{label} {column}": value for column, value in facts.items() if value is not None}


def _cells(section: Section, row: Row, root: Path) -> list[dict[str, Any]]:
    """The row's cells by training seed, those without a record too."""
    lines = [_cell(section, row, record, root) for record in row.records]
    for cell in row.absent:
        where = {"dataset": section.dataset, "protocol": section.number, "model": row.label}
        lines.append(where | {"training seed": cell.seed, "status": cell.status})
    return sorted(lines, key=lambda line: line["training seed"])


def _cell(section: Section, row: Row, record: Record, root: Path) -> dict[str, Any]:
    data = record.data
    throughput = data["throughput"] or {}
    line: dict[str, Any] = {
        "dataset": section.dataset,
        "protocol": section.number,
        "model": row.label,
        "training seed": record.seed,
        "evaluation seeds": _spaced(data["evaluation_seeds"]),
        "status": data["status"],
        "message": data["message"],
        "profile": data["profile"],
        "parameters": data["parameters"],
        "parameters trained": data["parameters_trained"],
        "updates": data["training"]["updates"],
        "planned updates": data["training"]["planned_updates"],
        "training seconds": data["training"]["seconds"],
        "network evaluations per sample": data["network_evaluations_per_sample"],
        "samples per second": throughput.get("samples_per_second"),
        "peak memory MiB": throughput.get("peak_memory_mib"),
        "device": data["environment"]["device"],
        "record": record.path.relative_to(root).as_posix(),
    }
    for metric in section.metrics:
        own = record.metric(metric["name"]) or {}
        label = metric["label"]
        low, high = own.get("interval") or (None, None)
        line |= {label: own.get("value"), f"{label} per evaluation seed": _spaced(own.get("per_seed", []))}
        line |= {f"{label} 95% low": low, f"{label} 95% high": high, f"{label} interval of": own.get("interval_of")}
        line |= {f"{label} spread": own.get("spread"), f"{label} spread of": own.get("spread_of")}
    return line


def _spaced(values: list[Any]) -> str:
    """Several numbers in one field, apart by spaces, in full precision."""
    return " ".join(repr(value) for value in values)
