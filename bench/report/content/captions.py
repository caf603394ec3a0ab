"""The sentences that a table needs for its numbers to mean anything: protocol, counts, seeds, device, failures."""

from __future__ import annotations

import math
from typing import Any

from bench.report.content import statistics
from bench.report.content.numerals import count, joined, listed, number, once, sentence
from bench.report.content.ranking import rank, role
from bench.report.content.rows import ReferenceRow
from bench.report.content.sections import EQUAL, Section
from bench.report.content.summary import short_names, verdict


def caption(section: Section) -> list[str]:
    """The sentences below a section's tables, in a fixed order."""
    return [*verdict(section).points, *reading(section), *protocol(section)]


def reading(section: Section) -> list[str]:
    """What the entries, the arrows, the columns and the bold entries mean."""
    if section.lead is None:
        return [_entries(section), "No run finished: there are no scores."]
    plain = any(metric["better"] == "none" for metric in section.tabulated)
    none = ", no arrow: a description, neither ranked nor tested" if plain else ""
    lines = [
        _entries(section),
        f"Lead score: {section.lead['label']}. ↓ lower is better, ↑ higher is better{none}.",
        *_roles(section),
        "Bold: best of its column and better than every other model there; nothing is bold where no winner is named.",
        *_elsewhere(section),
    ]
    if any(metric.get("table") == EQUAL for metric in section.tabulated):
        lines.append(
            "Samples at equal counts: real images are too few to be scored at the models' counts, so that all rows are "
            "scored again at counts which they allow; these columns are not tested a second time."
        )
    budgets = {name: {one.get("budget") for one in _entries_of(section, name)} for name in rank(section).best}
    labels = {metric["name"]: metric["label"] for metric in section.metrics}
    if unequal := [labels[name] for name, different in budgets.items() if len(different) > 1]:
        names = listed(unequal)
        lines.append(
            f"Budgets differ between the models: bold holds at the budgets stated, not at equal ones ({names})."
        )
    return lines


def _roles(section: Section) -> list[str]:
    """What each column may say, in one sentence for each role."""
    ranking, names, columns = rank(section), short_names(section), {}
    for metric in section.tabulated:
        if metric.get("table") != EQUAL:
            columns.setdefault(role(ranking, metric), []).append(names[metric["name"]])
    return [f"{mark[:1].upper()}{mark[1:]}: {listed(own)}." for mark, own in columns.items()]


def _elsewhere(section: Section) -> list[str]:
    """What rows of images made elsewhere are, and which of them no test includes."""
    if not any(row.made_elsewhere for row in section.rows):
        return []
    line = "Rows made elsewhere: images or a generator, scored here under this protocol; nothing is known of a training"
    outside = [row.label for row in section.rows if not row.competes]
    fewest = f"a test takes {statistics.FEWEST_SEEDS} training seeds"
    return [f"{line}. No test includes {joined(outside)}: {fewest}." if outside else f"{line}."]


def protocol(section: Section) -> list[str]:
    """How everything was measured, and what a reader must know about it."""
    return [
        *_protocol(section),
        *_scores(section),
        *_notes(section),
        *_references(section),
        *_untrained(section),
        _data(section),
        _conditions(section),
        *_precision(section),
        *_timing(section),
        *_checkpoints(section),
        *_failed(section),
    ]


def _entries(section: Section) -> str:
    seeds = listed(section.seeds)
    entries = [*section.metrics, *(metric for one in section.references for metric in one.metrics.values())]
    kinds = ", ".join(once(metric["interval_of"] for metric in entries if metric["interval"]))
    brackets = f"brackets hold a 95 % interval over the images of the first evaluation seed ({kinds})"
    if len(section.seeds) == 1:
        one = f"Each entry is one value, from training seed {seeds}: nothing is known of how it varies between seeds"
        return f"{one}; {brackets}." if kinds else f"{one}."
    spread = "Entries are mean ± half the width of the mean's 95 % t interval over the finished training seeds"
    single = f"an entry without ± comes from a single seed{f', and {brackets}' if kinds else ''}"
    return f"{spread} (seeds {seeds}; the status column counts them); {single}."


def _entries_of(section: Section, name: str) -> list[dict[str, Any]]:
    return [entry for row in section.rows for entry in row.entries(name)]


def _protocol(section: Section) -> list[str]:
    """The counts and the extractor in one sentence, where the records say them; older ones do not."""
    words = once(str(record.data.get("protocol") or "") for record in section.records)
    profiles = ", ".join(once(record.data["profile"] for record in section.records))
    return [f"Protocol (profile {profiles}): {'; or '.join(words)}."] if words else []


def _references(section: Section) -> list[str]:
    """Where the rows below the models come from, and what limits a comparison with them."""
    references = section.references
    if not references:
        return []
    sizes = "; ".join(f"{one.title}{_counts(one)}" for one in references)
    lines = [f"Rows below the models, which no model made and no test includes: {sizes}."]
    if any(section.reference_label(one) != one.title for one in references):
        lines.append(
            "Where their counts are not the models', compare with care: fewer images raise a Fréchet distance; KID has "
            "the same expectation at any."
        )
    told = {(metric["label"], metric.get("note")) for one in section.records for metric in one.metrics}  # of models
    for reference in references:
        notes: dict[tuple[str, str], list[str]] = {}
        for metric in reference.metrics.values():
            if metric.get("note") and (metric["label"], metric["note"]) not in told:
                made_of = metric.get("made_of") or reference.title
                notes.setdefault((made_of, metric["note"]), []).append(metric["label"])
        lines += [f"{title}, {', '.join(labels)}: {sentence(note)}" for (title, note), labels in notes.items()]
    if differing := [one.title for one in references if _disagree(section, one)]:
        lines.append(f"The records disagree on {', '.join(differing)}: the first record's values are shown.")
    return lines


def _untrained(section: Section) -> list[str]:
    if not any(record.untrained for record in section.records):
        return []
    return [
        "Rows called untrained: the same models with their first weights, scored in the same way on the first "
        "evaluation seed, by which no test goes. They say what a model's machinery does alone."
    ]


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


def _scores(section: Section) -> list[str]:
    """A sentence for each group of metrics with the same extractor and counts."""
    groups: dict[str, dict[str, str]] = {}
    for metric in section.tabulated:
        if how := _how(section, metric):  # names the extractor, if any, so the label need not
            label = metric["name"] if metric.get("extractor") else metric["label"]
            groups.setdefault(how, {})[metric["name"]] = label
    lines = []
    for how, labels in groups.items():  # a further kind (`length ratio, real ends`) is left out if the first is present
        first = [label for name, label in labels.items() if name.partition(", ")[0] not in labels.keys() - {name}]
        lines.append(f"{', '.join(first)}: {how}.")
    return lines


def _how(section: Section, metric: dict[str, Any]) -> str:
    generated, real = metric.get("n_generated"), metric.get("n_real")
    counts = [f"{generated:,} generated images"] if generated is not None else []
    if real is not None:
        counts.append(f"against {count(real, 'real image')}" if counts else f"{real:,} real images")
    details = [" ".join(counts)]
    if metric.get("extractor"):
        size = f" at {metric['resize']} × {metric['resize']} pixels" if metric.get("resize") else ""
        weights = f" (weights {str(metric['weights_hash'])[:12]})" if metric.get("weights_hash") else ""
        details.append(f"features of {metric['extractor']}{size}{weights}")
    if metric.get("n") is not None:
        over = once(str(one.get("spread_of") or one.get("n")) for one in _entries_of(section, metric["name"]))
        details.append(f"mean over {' or '.join(over)}")
    if metric.get("points") is not None:
        details.append(f"{metric['points']} points on each path")
    if metric.get("budget") is not None:
        details.append("each model's budget is in its column")
    return ", ".join(filter(None, details))


def _notes(section: Section) -> list[str]:
    """Each caveat once, with the names of its models unless it holds for all."""
    having: dict[str, list[str]] = {}
    holders: dict[tuple[str, str], list[str]] = {}
    shown = {metric["name"] for metric in section.tabulated}
    for row in section.rows:
        for metric in (metric for record in row.finished for metric in record.metrics if metric["name"] in shown):
            having.setdefault(metric["label"], []).append(row.label)
            if metric.get("note"):
                holders.setdefault((metric["label"], metric["note"]), []).append(row.label)
    notes = []
    for (label, note), rows in holders.items():
        some = "" if set(rows) == set(having[label]) else f" ({', '.join(once(rows))})"
        notes.append(f"{label}{some}: {sentence(note)}")
    return notes


def _data(section: Section) -> str:
    data = section.records[0].data["data"]
    sides = " × ".join(str(side) for side in data["image_shape"])
    counts = f"{count(data['train'], 'training image')}, {data['held_out']:,} held out"
    split = f"split seed {data['split_seed']}, content {data['content_hash'][:12]}"
    notes = once(str(note) for record in section.records for note in record.data["data"]["notes"])
    return f"Data: {data['name']}, {sides} (channels × height × width), {counts}, {split}." + "".join(
        f" Note: {sentence(note)}" for note in notes
    )


def _conditions(section: Section) -> str:
    records = [record.data for record in section.records]
    environments = [record["environment"] for record in records]
    plural = "s" if max(len(record["evaluation_seeds"]) for record in records) > 1 else ""
    seeds = " or ".join(once(listed(record["evaluation_seeds"]) for record in records))
    parts = [
        f"Profile {listed(once(record['profile'] for record in records)) or 'none'}",
        f"evaluation seed{plural} {seeds}" + (" (a cell's score is the mean over them)" if plural else ""),
        f"device {environments[0]['device']}",
    ]
    if versions := once(str((one.get("packages") or {}).get("torch", "")) for one in environments):
        parts.append(f"torch {listed(versions)}")
    stated = [one for one in environments if one.get("git_commit")]
    if commits := once(
        one["git_commit"][:12] + (" with uncommitted changes" if one.get("git_dirty") else "") for one in stated
    ):
        parts.append(f"code {listed(commits)}")
    return f"{listed(parts)}."


def _precision(section: Section) -> list[str]:
    """Which models were not trained in float32."""
    rows: dict[str, list[str]] = {}
    for row in section.rows:
        for record in row.records:
            if not record.made_elsewhere and record.training_precision != "float32":
                emulated = record.training_precision == "tf32" and not record.data["environment"].get("gpu")
                precision = "tf32, which is float32 on this device" if emulated else record.training_precision
                rows.setdefault(precision, []).append(row.label)
    told = "; ".join(f"{precision} ({joined(once(labels))})" for precision, labels in rows.items())
    what = "Convolutions and matrix products of updates, but for chains, which have a setting of their own, are in"
    return [f"{what} {told}; weights, losses and scores in float32."] if told else []


def _timing(section: Section) -> list[str]:
    how = once(_throughput(record.data["throughput"]) for record in section.records if record.data["throughput"])
    if not how:
        return []
    return [
        f"Seconds are wall-clock; samples/s: {'; '.join(how)}. "
        "Parameters are those a sample needs, in brackets everything trained; evaluations are of that network."
    ]


def _throughput(stated: dict[str, Any]) -> str:
    forms = {
        "repeats": lambda n: count(n, "repeat"),
        "batch_size": lambda n: f"batches of {n:,}",
        "dtype": str,
        "threads": lambda n: count(n, "thread"),
        "device": lambda name: f"on {name}",
    }
    return listed(form(stated[name]) for name, form in forms.items() if stated.get(name) not in (None, ""))


def _checkpoints(section: Section) -> list[str]:
    """Which weights were scored, where they are not the last."""
    found = [
        (f"{row.label}, seed {record.seed}", chosen)
        for row in section.rows
        for record in row.finished
        if (chosen := record.data["training"].get("checkpoint"))
    ]
    if not found:
        return []
    rule = found[0][1]
    which = "; ".join(f"{whose}: update {one['update']:,}, {number(one['score'])}" for whose, one in found)
    return [
        f"Scored are not the last weights but, by the rule {rule['rule']}, those of the update whose "
        f"{rule['metric']} was lowest ({count(rule['samples'], 'sample')} against {rule['against']}, which no score of "
        f"these tables uses): {which}."
    ]


def _failed(section: Section) -> list[str]:
    """What happened to the cells that are in no average."""
    lines = []
    for row in section.rows:
        for record in row.failed:
            what = "Diverged" if record in row.diverged else "Out of memory"
            why = sentence(record.data["message"] or f"stopped at update {number(record.stopped_at)}")
            lines.append(f"{what}, and in no average: {row.label}, seed {record.seed}: {why}")
        lines += [f"No record, and in no average: {row.label}, seed {cell.seed}: {cell.status}." for cell in row.absent]
    return lines
