"""What the CSV files contain beyond the tables: every number of a row (table.csv) and of a cell (cells.csv)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.report.content.ranking import Ranking, rank
from bench.report.content.rows import ReferenceRow, Row, Summary, at
from bench.report.content.sections import Section
from bench.results.record import Record

# What a reader needs in order to know which rows can be compared, if the record has it.
_METRIC_FACTS = {  # field of a metric -> its column, after the label; "n" alone already counts the seeds
    **{name: name for name in ("extractor", "resize", "weights_hash", "n_real", "n_generated", "points")},
    "n": "measured on",
    "budget": "budget",
    "budget_unit": "budget unit",
}
_OF_ROWS = {  # column -> the field of a record
    "latent dimensions": "latent_dimensions",
    "parameters": "parameters",
    "parameters trained": "parameters_trained",
    "planned updates": "training.planned_updates",
    "network evaluations per sample": "network_evaluations_per_sample",
    "device": "environment.device",
}
_OF_CELLS = {
    **{name: name for name in ("status", "message", "profile", "parameters")},
    "parameters trained": "parameters_trained",
    "updates": "training.updates",
    "planned updates": "training.planned_updates",
    "training seconds": "training.seconds",
    "network evaluations per sample": "network_evaluations_per_sample",
    "samples per second": "throughput.samples_per_second",
    "peak memory MiB": "throughput.peak_memory_mib",
    "device": "environment.device",
}


def rows(section: Section) -> list[dict[str, Any]]:
    """A line per model, reference and untrained model: every score with its interval, its verdict and its protocol."""
    ranking = rank(section)
    models = [_model(section, row, ranking) for row in section.rows]
    references = [_reference(section, reference) for reference in section.references]
    return [*models, *references, *(line for row in section.rows if (line := _untrained(section, row)))]


def cells(section: Section, root: Path) -> list[dict[str, Any]]:
    """A line per cell, by model and training seed, also for those without a record; `root` is the results folder."""
    lines = []
    for row in section.rows:
        own = [_cell(section, row, record, root) for record in row.records]
        own += [
            _place(section) | {"model": row.label, "training seed": cell.seed, "status": cell.status}
            for cell in row.absent
        ]
        lines += sorted(own, key=lambda line: line["training seed"])
    return lines


def _place(section: Section) -> dict[str, Any]:
    return {"dataset": section.dataset, "protocol": section.number}


def _model(section: Section, row: Row, ranking: Ranking) -> dict[str, Any]:
    line = _place(section) | {
        "kind": "elsewhere" if row.made_elsewhere else "model",
        "model": row.label,
        "profile": row.fact("profile"),
        "status": row.status,
        "seeds finished": len(row.finished),
        "seeds diverged": len(row.diverged),
        "seeds out of memory": len(row.failed) - len(row.diverged),
        "seeds without a record": len(row.absent),
        **{column: row.fact(path) for column, path in _OF_ROWS.items()},
    }
    line |= _statistics("training seconds", row.summary("training.seconds"))
    line |= _statistics("samples per second", row.summary("throughput.samples_per_second"))
    for metric in section.metrics:
        name, label = metric["name"], metric["label"]
        line |= _statistics(label, row.score(name))
        line |= {f"{label} better": metric["better"], f"{label} lead": metric is section.lead}
        line |= {f"{label} best": ranking.best.get(name) == row.label}
        line |= _facts(label, next(iter(row.entries(name)), {}))
    return line


def _reference(section: Section, reference: ReferenceRow) -> dict[str, Any]:
    line = _place(section) | {"kind": reference.kind, "model": reference.title}
    for metric in section.metrics:
        if own := reference.metrics.get(metric["name"]):
            line |= _statistics(metric["label"], Summary.of(own)) | _facts(metric["label"], own)
    return line


def _untrained(section: Section, row: Row) -> dict[str, Any]:
    """What the row's model scores with its first weights; empty where no record has it."""
    found = {one["label"]: own for one in section.metrics if (own := row.untrained(one["name"]))}
    if not found:
        return {}
    line = _place(section) | {"kind": "untrained", "model": f"{row.label}, untrained"}
    line |= {"latent dimensions": row.fact("latent_dimensions")}
    for label, summary in found.items():
        line |= _statistics(label, summary)
    return line


def _statistics(label: str, summary: Summary | None) -> dict[str, Any]:
    """Mean, standard deviation, count and 95 % interval: that of the mean over seeds or, for one seed, its own."""
    mean, std, n = (summary.mean, summary.std, summary.n) if summary else (None, None, 0)
    low, high, of = (*summary.interval, summary.interval_of) if summary and summary.interval else (None, None, None)
    values = {"mean": mean, "std": std, "n": n, "95% low": low, "95% high": high, "interval of": of}
    return {f"{label} {what}": value for what, value in values.items()}


def _facts(label: str, entry: dict[str, Any]) -> dict[str, Any]:
    facts = {column: entry.get(field) for field, column in _METRIC_FACTS.items()}
    return {f"{label} {column}": value for column, value in facts.items() if value is not None}


def _cell(section: Section, row: Row, record: Record, root: Path) -> dict[str, Any]:
    line = _place(section) | {
        "model": row.label,
        "training seed": record.seed,
        "evaluation seeds": _spaced(record.data["evaluation_seeds"]),
        **{column: at(record.data, path) for column, path in _OF_CELLS.items()},
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
    """Several numbers in one field, separated by spaces, in full precision."""
    return " ".join(repr(value) for value in values)
