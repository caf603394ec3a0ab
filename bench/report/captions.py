"""What must stand beside a table for its numbers to mean anything: protocol, counts, seeds, device, what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.records import Record
from bench.report.numerals import count, number
from bench.report.sections import Section


def caption(section: Section) -> list[str]:
    """The sentences below a section's tables, in a fixed order."""
    return [
        _entries(section),
        *_lead(section),
        *_scores(section),
        *_notes(section),
        _data(section),
        _conditions(section),
        *_timing(section),
        *_diverged(section),
    ]


def arrow(metric: dict[str, Any]) -> str:
    return "↓" if metric["better"] == "lower" else "↑"


def _entries(section: Section) -> str:
    seeds = _listed(section.seeds)
    if len(section.seeds) == 1:
        return f"Each entry is one value, from training seed {seeds}: there is no spread to show."
    spread = "Entries are mean ± sample standard deviation (ddof = 1) over the finished training seeds"
    return f"{spread} (seeds {seeds}; the status column counts them); an entry without ± comes from a single seed."


def _lead(section: Section) -> list[str]:
    if section.lead is None:
        return ["No run finished: there are no scores."]
    lead = f"Lead score: {section.lead['label']}. ↓ lower is better, ↑ higher is better."
    return [f"{lead} No statistical test was made, so no model is marked as better than another."]


def _scores(section: Section) -> list[str]:
    """Metrics that share extractor and counts share a sentence."""
    groups: dict[str, list[str]] = {}
    for metric in section.metrics:
        if how := _how(section, metric):
            groups.setdefault(how, []).append(metric["label"])
    return [f"{', '.join(labels)}: {how}." for how, labels in groups.items()]


def _how(section: Section, metric: dict[str, Any]) -> str:
    parts = []
    if metric.get("n_generated") is not None:
        parts.append(f"{metric['n_generated']:,} generated images")
    if metric.get("n_real") is not None:
        parts.append(
            f"against {count(metric['n_real'], 'real image')}" if parts else f"{metric['n_real']:,} real images"
        )
    how = " ".join(parts)
    details = [how] if how else []
    if metric.get("extractor"):
        size = f" at {metric['resize']} × {metric['resize']} pixels" if metric.get("resize") else ""
        weights = f" (weights {str(metric['weights_hash'])[:12]})" if metric.get("weights_hash") else ""
        details.append(f"features of {metric['extractor']}{size}{weights}")
    if not details and metric.get("n") is not None:
        own = [found for record in section.records if (found := record.metric(metric["name"]))]
        details.append(f"mean over {' or '.join(_once(str(one.get('spread_of') or one.get('n')) for one in own))}")
    if metric.get("points") is not None:
        details.append(f"{metric['points']} points on each path")
    if metric.get("budget") is not None:
        details.append("each model's budget is in its column")
    return ", ".join(details)


def _notes(section: Section) -> list[str]:
    """Each caveat once; with the models it holds for where it does not hold for all."""
    having: dict[str, list[str]] = {}
    holders: dict[tuple[str, str], list[str]] = {}
    for row in section.rows:
        for metric in (metric for record in row.finished for metric in record.metrics):
            having.setdefault(metric["label"], []).append(row.label)
            if metric.get("note"):
                holders.setdefault((metric["label"], metric["note"]), []).append(row.label)
    notes = []
    for (label, note), rows in holders.items():
        some = "" if set(rows) == set(having[label]) else f" ({', '.join(_once(rows))})"
        notes.append(f"{label}{some}: {_sentence(note)}")
    return notes


def _data(section: Section) -> str:
    data = section.records[0].data["data"]
    sides = " × ".join(str(side) for side in data["image_shape"])
    counts = f"{count(data['train'], 'training image')}, {data['held_out']:,} held out"
    split = f"split seed {data['split_seed']}, content {data['content_hash'][:12]}"
    notes = _once(str(note) for record in section.records for note in record.data["data"]["notes"])
    return f"Data: {data['name']}, {sides} (channels × height × width), {counts}, {split}." + "".join(
        f" Note: {_sentence(note)}" for note in notes
    )


def _conditions(section: Section) -> str:
    records = [record.data for record in section.records]
    seeds = _listed(sorted({record["evaluation_seed"] for record in records}))
    profiles = ", ".join(_once(record["profile"] for record in records))
    parts = [f"Profile {profiles}", f"evaluation seed {seeds}", f"device {records[0]['environment']['device']}"]
    versions = _once(str((record["environment"].get("packages") or {}).get("torch", "")) for record in records)
    if versions:
        parts.append(f"torch {', '.join(versions)}")
    if commits := _once(_code(record["environment"]) for record in records):
        parts.append(f"code {', '.join(commits)}")
    return ", ".join(parts) + "."


def _code(environment: dict[str, Any]) -> str:
    commit = str(environment.get("git_commit") or "")[:12]
    return f"{commit} with uncommitted changes" if commit and environment.get("git_dirty") else commit


def _timing(section: Section) -> list[str]:
    measured = [record for record in section.records if record.data["throughput"]]
    if not measured:
        return []
    how = _once(_throughput(record) for record in measured)
    return [
        f"Seconds are wall-clock; samples/s: {'; '.join(how)}. "
        "Parameters are those a sample needs, in brackets everything trained; evaluations are of that network."
    ]


def _throughput(record: Record) -> str:
    throughput: dict[str, Any] = record.data["throughput"]
    parts = []
    if throughput.get("repeats") is not None:
        parts.append(f"{count(throughput['repeats'], 'repeat')}")
    if throughput.get("batch_size") is not None:
        parts.append(f"batches of {throughput['batch_size']:,}")
    if throughput.get("dtype"):
        parts.append(str(throughput["dtype"]))
    if throughput.get("threads") is not None:
        parts.append(count(throughput["threads"], "thread"))
    return ", ".join([*parts, f"on {throughput['device']}"])


def _diverged(section: Section) -> list[str]:
    return [
        f"Diverged, and in no average: {row.label}, seed {record.seed}: "
        + _sentence(record.data["message"] or f"stopped at update {number(record.stopped_at)}")
        for row in section.rows
        for record in row.diverged
    ]


def _listed(values: list[int]) -> str:
    return ", ".join(str(value) for value in values)


def _once(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
