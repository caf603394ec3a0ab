"""table.csv (a row per dataset, protocol and model) and cells.csv (a row per cell), every number in full precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.records import Record, write_text
from bench.report.sections import Row, Section, Summary

# What a reader needs to know which rows compare, where the record has it.
_METRIC_FACTS = {  # field of a metric -> its column, after the label; "n" alone already counts the seeds
    **{name: name for name in ("extractor", "resize", "weights_hash", "n_real", "n_generated", "points")},
    "n": "measured on",
    "budget": "budget",
    "budget_unit": "budget unit",
}


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Write table.csv and cells.csv; their paths."""
    rows = [_table_row(section, row) for section in sections for row in section.rows]
    cells = [
        _cell(section, row, record, root) for section in sections for row in section.rows for record in row.records
    ]
    outputs = {"table.csv": rows, "cells.csv": cells}
    for name, lines in outputs.items():
        # dtype=object: an integer column with a gap stays integer instead of turning into 700.0
        frame = pd.DataFrame(lines, dtype=object)
        write_text(root / name, frame.to_csv(index=False, lineterminator="\n"))
    return [root / name for name in outputs]


def _table_row(section: Section, row: Row) -> dict[str, Any]:
    first = row.records[0].data
    line: dict[str, Any] = {
        "dataset": section.dataset,
        "protocol": section.number,
        "model": row.label,
        "profile": first["profile"],
        "status": row.status,
        "seeds finished": len(row.finished),
        "seeds diverged": len(row.diverged),
        "parameters": first["parameters"],
        "parameters trained": first["parameters_trained"],
        "planned updates": first["training"]["planned_updates"],
        "network evaluations per sample": first["network_evaluations_per_sample"],
        "device": first["environment"]["device"],
    }
    line |= _statistics("training seconds", row.summary(lambda record: record.data["training"]["seconds"]))
    line |= _statistics("samples per second", row.summary(lambda record: record.samples_per_second))
    for metric in section.metrics:
        label = metric["label"]
        line |= _statistics(label, row.score(metric["name"]))
        line |= {f"{label} better": metric["better"], f"{label} lead": metric is section.lead}
        own = next((found for record in row.finished if (found := record.metric(metric["name"]))), {})
        line |= {f"{label} {column}": own[fact] for fact, column in _METRIC_FACTS.items() if own.get(fact) is not None}
    return line


def _statistics(label: str, summary: Summary | None) -> dict[str, Any]:
    if summary is None:
        return {f"{label} mean": None, f"{label} std": None, f"{label} n": 0}
    return {f"{label} mean": summary.mean, f"{label} std": summary.std, f"{label} n": summary.n}


def _cell(section: Section, row: Row, record: Record, root: Path) -> dict[str, Any]:
    data = record.data
    throughput = data["throughput"] or {}
    line: dict[str, Any] = {
        "dataset": section.dataset,
        "protocol": section.number,
        "model": row.label,
        "training seed": record.seed,
        "evaluation seed": data["evaluation_seed"],
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
        line |= {metric["label"]: own.get("value"), f"{metric['label']} spread": own.get("spread")}
        line |= {f"{metric['label']} spread of": own.get("spread_of")}
    return line
