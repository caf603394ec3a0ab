"""The sentences that a table needs for its numbers to mean anything: protocol, counts, seeds, device, failures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.report.content import statistics
from bench.report.content.numerals import count, listed, number, once
from bench.report.content.ranking import rank, role
from bench.report.content.rows import ReferenceRow, Row
from bench.report.content.sections import EQUAL, Section
from bench.report.content.sentences import TEMPLATES, parted, sentence, written
from bench.report.content.summary import short_names, verdict
from bench.results.record import Record


def caption(section: Section) -> list[str]:
    """The sentences below a section's tables, in a fixed order."""
    return [*verdict(section).points, *reading(section), *protocol(section)]


def reading(section: Section) -> list[str]:
    """What the entries, the arrows, the columns and the bold entries mean."""
    entries = [*section.metrics, *(metric for one in section.references for metric in one.metrics.values())]
    ranking, names = rank(section), short_names(section)
    once_tested = [metric for metric in section.tabulated if metric.get("table") != EQUAL]
    budgets = {name: {one.get("budget") for one in _entries_of(section, name)} for name in ranking.best}
    labels = {metric["name"]: metric["label"] for metric in section.metrics}
    return written(
        TEMPLATES / "reading.txt",
        section=section,
        kinds=once(metric["interval_of"] for metric in entries if metric["interval"]),
        plain=any(metric["better"] == "none" for metric in section.tabulated),
        roles=parted((role(ranking, metric), names[metric["name"]]) for metric in once_tested),
        fewest=statistics.FEWEST_SEEDS,
        equal=len(once_tested) < len(section.tabulated),
        unequal=[labels[name] for name, different in budgets.items() if len(different) > 1],
    )


def protocol(section: Section) -> list[str]:
    """How everything was measured, and what a reader must know about it."""
    records = [record.data for record in section.records]
    environments = [record["environment"] for record in records]
    references = section.references
    stated = written(
        TEMPLATES / "protocol.txt",
        section=section,
        words=once(str(record.get("protocol") or "") for record in records),  # older records have none
        profiles=once(record["profile"] for record in records),
        scores=_scores(section),
        notes=_notes(section),
        sizes=[f"{one.title}{_counts(one)}" for one in references],
        others_counted=any(section.reference_label(one) != one.title for one in references),
        reference_notes=_reference_notes(section),
        differing=[one.title for one in references if _disagree(section, one)],
        data=records[0]["data"],
        data_notes=once(str(note) for record in records for note in record["data"]["notes"]),
        evaluation_seeds=once(listed(record["evaluation_seeds"]) for record in records),
        several=any(len(record["evaluation_seeds"]) > 1 for record in records),
        device=environments[0]["device"],
        versions=once(str((one.get("packages") or {}).get("torch", "")) for one in environments),
        commits=once(
            one["git_commit"][:12] + (" with uncommitted changes" if one.get("git_dirty") else "")
            for one in environments
            if one.get("git_commit")
        ),
        precisions=_precisions(section),
        together=_together(section),
        timings=once(
            listed(written(TEMPLATES / "timing.txt", stated=record["throughput"]))
            for record in records
            if record["throughput"]
        ),
    )
    missing = [(row.label, cell) for row in section.rows for cell in row.absent]
    absent = [f"No record, and in no average: {name}, seed {cell.seed}: {cell.status}." for name, cell in missing]
    return [*stated, *checkpoints([section]), *failed([section]), *absent]


def checkpoints(sections: Sequence[Section]) -> list[str]:
    """Which weights were scored, where they are not the last: a sentence for each rule that chose them."""
    found = [
        (rule, f"{name}: update {rule['update']:,}, {number(rule['score'])}")
        for name, _, record in _named(sections)
        if record.finished and (rule := record.data["training"].get("checkpoint"))
    ]
    fields = ("rule", "metric", "samples", "against")
    rules = parted((tuple(rule[field] for field in fields), text) for rule, text in found)
    return written(TEMPLATES / "checkpoints.txt", rules=rules)


def failed(sections: Sequence[Section]) -> list[str]:
    """What happened to the cells that ended without scores, and are in no average."""
    lines = []
    for name, row, record in _named(sections):
        if not record.finished:
            what = "Diverged" if record in row.diverged else "Out of memory"
            why = sentence(record.data["message"] or f"stopped at update {number(record.stopped_at)}")
            lines.append(f"{what}, and in no average: {name}: {why}")
    return lines


def _named(sections: Sequence[Section]) -> list[tuple[str, Row, Record]]:
    """Every record with its row and a name, which begins with the data set where there are several sections."""
    return [
        (f"{f'{one.dataset}, ' if len(sections) > 1 else ''}{row.label}, seed {record.seed}", row, record)
        for one in sections
        for row in one.rows
        for record in row.records
    ]


def _precisions(section: Section) -> dict[str, list[str]]:
    """Which models were not trained in float32: the precision of their updates -> their names."""
    found = []
    for row in section.rows:
        for record in row.records:
            if not record.made_elsewhere and record.training_precision != "float32":
                emulated = record.training_precision == "tf32" and not record.data["environment"].get("gpu")
                told = "tf32, which is float32 on this device" if emulated else record.training_precision
                found.append((told, row.label))
    return parted(found)


def _together(section: Section) -> dict[str, list[str]]:
    """Which models were trained by several processes: how many -> their names."""
    told = [(record.data["environment"].get("ranks"), row.label) for row in section.rows for record in row.records]
    return parted((str(ranks), label) for ranks, label in told if ranks)


def _entries_of(section: Section, name: str) -> list[dict[str, Any]]:
    return [entry for row in section.rows for entry in row.entries(name)]


def _reference_notes(section: Section) -> dict[tuple[str, str], list[str]]:
    """(what was scored, caveat) -> the scores; without the caveats that the models' scores have as well."""
    told = {(metric["label"], metric.get("note")) for one in section.records for metric in one.metrics}
    return parted(
        ((metric.get("made_of") or reference.title, metric["note"]), metric["label"])
        for reference in section.references
        for metric in reference.metrics.values()
        if metric.get("note") and (metric["label"], metric["note"]) not in told
    )


def _counts(reference: ReferenceRow) -> str:
    counted = next((one for one in reference.metrics.values() if one.get("n_generated") is not None), None)
    if counted is None:
        return ""
    against = f" against {count(counted['n_real'], 'real image')}" if counted.get("n_real") is not None else ""
    return f", {count(counted['n_generated'], 'image')}{against}"


def _disagree(section: Section, reference: ReferenceRow) -> bool:
    """Whether another record has a different value, beyond rounding."""
    stated = [one for record in section.records if (one := record.data["references"].get(reference.kind))]
    pairs = [(metric, reference.metrics.get(metric["name"], metric)) for one in stated for metric in one["metrics"]]
    return any(not math.isclose(own["value"], first["value"], rel_tol=1e-3, abs_tol=1e-9) for own, first in pairs)


def _scores(section: Section) -> dict[str, list[str]]:
    """Extractor and counts in words -> the metrics that share them."""
    groups: dict[str, dict[str, str]] = {}
    for metric in section.tabulated:
        over = once(str(one.get("spread_of") or one.get("n")) for one in _entries_of(section, metric["name"]))
        if how := listed(written(TEMPLATES / "counted.txt", metric=metric, over=over)):
            label = metric["name"] if metric.get("extractor") else metric["label"]  # `how` names the extractor, if any
            groups.setdefault(how, {})[metric["name"]] = label
    return {  # a further kind (`length ratio, real ends`) is left out if the first is present
        how: [label for name, label in labels.items() if name.partition(", ")[0] not in labels.keys() - {name}]
        for how, labels in groups.items()
    }


def _notes(section: Section) -> list[str]:
    """Each caveat once, with the names of its models unless it holds for all."""
    shown = {metric["name"] for metric in section.tabulated}
    told = [
        (metric, row.label)
        for row in section.rows
        for record in row.finished
        for metric in record.metrics
        if metric["name"] in shown
    ]
    having = parted((metric["label"], row) for metric, row in told)
    holders = parted(((metric["label"], metric["note"]), row) for metric, row in told if metric.get("note"))
    return [
        f"{label}{'' if rows == having[label] else f' ({listed(rows)})'}: {sentence(note)}"
        for (label, note), rows in holders.items()
    ]
