"""Which records may share a table: a section is one data set under one protocol, a row the seeds of one model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.errors import UserError
from bench.report.content.outcomes import Absent
from bench.report.content.rows import ReferenceRow, Row
from bench.results.layout import folder_name, run_again
from bench.results.record import Record
from bench.results.schema import GROUPS, REFERENCES

# Scores can be compared only where all of these agree. A metric's budget and the sampling batch may differ between
# models. Its count `n` is partly a result (paths with equal ends are left out); config.evaluation has what was asked.
_COUNTS = ("n_real", "n_generated")
_METRIC_PROTOCOL = ("label", "group", "better", "extractor", "resize", "weights_hash", *_COUNTS, "points")
# A row averages over these, so they do not divide a section.
_SEEDS = ("seed", "seeds", "training_seed", "evaluation_seed", "evaluation_seeds")
EQUAL = "equal counts"  # the table of scores that models have a second time, at the counts of the references
_MINOR = "paper path"  # scores along this second kind of path stand in the CSV files alone, to keep tables readable


@dataclass(frozen=True)
class Section:
    """One data set under one protocol. `number` counts from 1 within the data set, which has `of` sections."""

    dataset: str
    number: int
    of: int
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        return self.dataset if self.of == 1 else f"{self.dataset} (protocol {self.number} of {self.of})"

    @property
    def folder(self) -> str:
        """The folder of the section's plots: `plots/<dataset>`, or a subfolder of it for a further protocol."""
        base = f"plots/{folder_name(self.dataset)}"
        return base if self.number == 1 else f"{base}/protocol-{self.number}"

    @property
    def records(self) -> list[Record]:
        return [record for row in self.rows for record in row.records]

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.records})

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One example of every metric: the lead score first, then the others by group, in the records' order."""
        found: dict[str, dict[str, Any]] = {}
        for metric in (metric for record in self.records for metric in record.metrics):
            found.setdefault(metric["name"], metric)
        return sorted(found.values(), key=lambda metric: (not metric.get("lead"), GROUPS.index(metric["group"])))

    @property
    def tabulated(self) -> list[dict[str, Any]]:
        """The metrics that tables and plots show, in the order of `metrics`."""
        return [metric for metric in self.metrics if _MINOR not in metric["name"]]

    @property
    def references(self) -> list[ReferenceRow]:
        """From the first finished record."""
        stated = next((record.data["references"] for record in self.records if record.data["references"]), {})
        return [
            ReferenceRow(kind, stated[kind]["title"], {metric["name"]: metric for metric in stated[kind]["metrics"]})
            for kind in REFERENCES
            if kind in stated
        ]

    @property
    def lead(self) -> dict[str, Any] | None:
        """The score that decides; the first one if no record names it."""
        return next(iter(self.metrics), None)

    @property
    def lead_declared(self) -> bool:
        """Whether all records name it in their settings; otherwise the number of images chose it."""
        return all(record.data["config"]["evaluation"].get("lead") for record in self.records)

    def reference_label(self, reference: ReferenceRow, names: Iterable[str] = ()) -> str:
        """The reference's title, with its counts where the models' scores `names` (none: all) have others.

        If all of the scores `names` were made of something else (`made_of`), that is the label instead.
        """
        names = set(names)
        made_of = {reference.metrics[name].get("made_of") for name in names if name in reference.metrics}
        if len(made_of) == 1 and (only := made_of.pop()):
            return only
        for metric in self.metrics:
            if (names and metric["name"] not in names) or not (own := reference.metrics.get(metric["name"])):
                continue
            made, real = own.get("n_generated"), own.get("n_real")
            against = f" against {real:,}" if real is not None and real != metric.get("n_real") else ""
            if made is not None and (against or made != metric.get("n_generated")):
                return f"{reference.title} ({made:,} images{against})"
        return reference.title


def split(records: list[Record], absent: Sequence[Absent] = ()) -> list[Section]:
    """Divide the records into sections, by data set and then by protocol (data, evaluation, extractor, counts, device).

    The cells without a record, `absent`, join the first row of their model, in the first section that has one. A model
    without any record gets a row in the first section; a data set without any record has no section.
    Raises UserError if one section would hold the same model, configuration and training seed twice, or if the columns
    of one table would count different images.
    """
    result = []
    for record in records:
        _refuse_mixed_counts(record)
    for dataset in dict.fromkeys(record.dataset for record in records):
        parted = [_rows(pool) for pool in _pools([record for record in records if record.dataset == dataset])]
        for model in sorted({cell.model for cell in absent if cell.dataset == dataset}):
            own = tuple(cell for cell in absent if (cell.dataset, cell.model) == (dataset, model))
            _place(parted, model, own)
        result += [Section(dataset, number, len(parted), tuple(rows)) for number, rows in enumerate(parted, start=1)]
    return result


def _place(parted: list[list[Row]], model: str, cells: tuple[Absent, ...]) -> None:
    """Put a model's missing cells into the row of its records, or into a row of their own."""
    for rows in parted:
        for index, row in enumerate(rows):
            if row.records and row.records[0].model == model:
                rows[index] = replace(row, absent=cells)
                return
    parted[0].append(Row(model, (), cells))
    parted[0].sort(key=lambda row: row.records[0].model if row.records else row.label)  # stable


def _refuse_mixed_counts(record: Record) -> None:
    """A Frechet distance of 1,000 images beside precision of 500 would be read as one experiment."""
    samples = [metric for metric in record.metrics if metric["group"] == "samples"]
    for field, again in itertools.product(_COUNTS, (False, True)):  # a table of equal counts has its own
        counts: dict[int, str] = {}
        for metric in samples:
            if metric.get(field) is not None and (metric.get("table") == EQUAL) == again:
                counts.setdefault(metric[field], metric["label"])
        if len(counts) > 1:
            (first, one), (second, other) = list(counts.items())[:2]
            raise UserError(
                f"{record.path}: {field} is {first:,} for {one} and {second:,} for {other}, but the columns of one "
                f"table must count the same images; {run_again(record.folder)}"
            )


def _pools(records: list[Record]) -> list[list[Record]]:
    """Groups of records whose protocols agree wherever both state a fact; a diverged run states its settings alone."""
    pools: list[tuple[dict[Hashable, Any], list[Record]]] = []
    for record in sorted(records, key=lambda record: not record.metrics):  # stable: scores first, then the order given
        protocol = _protocol(record)
        for known, members in pools:
            if all(known.get(key, value) == value for key, value in protocol.items()):
                known.update(protocol)
                members.append(record)
                break
        else:
            pools.append((protocol, [record]))
    return [members for _, members in pools]


def _protocol(record: Record) -> dict[Hashable, Any]:
    data, config, throughput = record.data["data"], record.data["config"], record.data["throughput"] or {}
    facts: dict[Hashable, Any] = {
        "images": [data[key] for key in ("image_shape", "train", "held_out", "split_seed", "content_hash")],
        "data": _canonical(config["data"]),
        "evaluation": _canonical(config["evaluation"]),
        "device": record.data["environment"]["device"],
    }
    watched = config.get("training") or {}
    chosen = watched.get("checkpoint", "last") != "last"  # a curve beside the last weights changes no score
    facts["checkpoint"] = _canonical(watched | {"precision": None}) if chosen else None
    if throughput:
        facts["timing"] = [throughput.get(key) for key in ("device", "dtype", "threads")]
        facts["timing", record.model] = throughput.get("batch_size")
    for metric in record.metrics:
        facts["metric", metric["name"]] = [metric.get(key) for key in _METRIC_PROTOCOL]
        facts["budget", metric["name"], record.model] = [metric.get("budget"), metric.get("budget_unit")]
    return facts


def _rows(records: list[Record]) -> list[Row]:
    groups: dict[tuple[str, bool, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.model, record.seed, str(record.folder))):
        schedule: dict[str, Any] = {name: record.data["training"][name] for name in ("planned_updates", "batch_size")}
        schedule["training.precision"] = record.training_precision
        settings = _canonical(schedule | record.data["config"]["model"])
        groups.setdefault((record.model, record.made_elsewhere, settings), []).append(record)
    rows = []
    for (model, elsewhere, settings), members in groups.items():
        seen: dict[int, Record] = {}
        for record in members:
            if (twin := seen.setdefault(record.seed, record)) is not record:
                raise UserError(
                    f"{twin.path} and {record.path} both hold {record.dataset}, {model}, training seed {record.seed}; "
                    "move one of the two folders away"
                )
        siblings = [json.loads(other) for name, origin, other in groups if (name, origin) == (model, elsewhere)]
        label = _label(model, json.loads(settings), siblings)
        rows.append(Row(f"{label}, made elsewhere" if elsewhere else label, tuple(members)))
    return rows


def _label(model: str, settings: dict[str, Any], siblings: list[dict[str, Any]]) -> str:
    """The model's name, with the settings that differ if the section has several configurations of it."""
    differing = [key for key in settings if any(other.get(key) != settings[key] for other in siblings)]
    return f"{model} ({', '.join(f'{key}={settings[key]}' for key in differing)})" if differing else model


def _canonical(config: dict[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in _SEEDS}
    return json.dumps(kept, sort_keys=True)
