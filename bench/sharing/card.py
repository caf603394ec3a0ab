"""The model card of a cell, written from its record: nothing in it was not measured or set.

The front matter is that of the Hugging Face hub (https://huggingface.co/docs/hub/model-cards), its values as JSON,
which is YAML as well.
"""

from __future__ import annotations

import json
from typing import Any

from bench.errors import one_line
from bench.report.content.numerals import bracketed, count, listed, number
from bench.report.tables import markdown
from bench.report.tables.model import Table
from bench.results.record import Record

TASK = "unconditional-image-generation"  # the hub's name of it
ARROWS = {"lower": " ↓", "higher": " ↑"}
GROUPS = ("samples", "reconstruction")  # that the card shows


def card(record: Record, name: str, licence: str, sheet: str = "") -> str:
    """README.md: front matter, samples, use, training, scores beside their references, limits and licence."""
    text = markdown.escape
    data = record.data["data"]
    sides = " x ".join(map(str, data["image_shape"]))
    parts = [
        _front_matter(record, name, licence),
        f"# {text(name)}",
        f"A generative model (`{_code(record.model)}`) of {text(record.dataset)} images, {sides} (channels, height, "
        "width), trained and scored by the short-run EBM benchmark.",
        f"![Samples, not selected]({sheet})" if sheet else "",
        "## Use",
        _use(),
        "## Data",
        markdown.bullets(
            [
                f"{data['name']}: {count(data['train'], 'training image')}, {data['held_out']:,} held out, split seed "
                f"{data['split_seed']}, content {data['content_hash'][:12]}",
                *data["notes"],
            ]
        ),
        _settings(record),
        *_scores(record),
        "## Limits",
        markdown.bullets(_limits(record)),
        "## How it was made",
        f"```\n{_code(record.data['command'])}\n```" if record.data["command"] else "",
        markdown.bullets(_environment(record)),
        "## Licence",
        f"The weights: {text(licence)}. What the images that they were trained on allow is for their own terms to say.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(record: Record, name: str, licence: str) -> str:
    """The fields that the hub reads, and the scores as a model index."""
    metrics = [
        {"type": metric["name"].lower().replace(" ", "-"), "name": metric["label"], "value": metric["value"]}
        for metric in record.metrics
        if metric["group"] in GROUPS and metric["better"] != "none"
    ]
    result = {
        "task": {"type": TASK, "name": "unconditional image generation"},
        "dataset": {"type": record.dataset, "name": record.dataset},
        "metrics": metrics,
    }
    fields: dict[str, Any] = {
        "license": licence,
        "library_name": "short-run-ebm-benchmark",
        "pipeline_tag": TASK,
        "tags": ["image-generation", record.model],
        "model-index": [{"name": name, "results": [result]}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=True)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _use() -> str:
    lines = [
        "import torch",
        "from bench import zoo  # pip install short-run-ebm-benchmark",
        "",
        'model = zoo.load("FOLDER or OWNER/NAME on the hub")',
        "images = model.sample(64, torch.Generator().manual_seed(0))  # float32 (64, C, H, W) in [-1, 1]",
    ]
    return "\n".join(["```python", *lines, "```"])


def _settings(record: Record) -> str:
    training = record.data["training"]
    facts = {
        "training seed": record.seed,
        "updates": training["updates"],
        "images per update": training["batch_size"],
        "training seconds": training["seconds"],
        "training precision": record.training_precision,
        "parameters that a sample needs": record.data["parameters"],
        "network evaluations per sample": record.data["network_evaluations_per_sample"],
        **record.data["config"]["model"],
    }
    rows = [(str(name), value if isinstance(value, str) else json.dumps(value)) for name, value in facts.items()]
    return markdown.render(Table.of_rows("Training and settings", ("setting", "value"), rows), 2)


def _scores(record: Record) -> list[str]:
    """A table for each group of scores, with the value of held-out real images and of noise beside them."""
    kinds = [kind for kind in ("real", "noise") if kind in record.data["references"]]
    references = [record.data["references"][kind] for kind in kinds]
    known = [{one["name"]: one for one in reference["metrics"]} for reference in references]
    titles = [reference["title"] for reference in references]
    tables = []
    for group in GROUPS:
        rows = []
        for metric in (metric for metric in record.metrics if metric["group"] == group):
            others = [own.get(metric["name"]) for own in known]
            rows.append(
                [
                    metric["label"] + ARROWS.get(metric["better"], ""),
                    bracketed(metric["value"], metric["interval"]),
                    *(bracketed(one["value"], one["interval"]) if one else "–" for one in others),
                ]
            )
        if rows:
            heads = ("score", "this model", *titles)
            tables.append(markdown.render(Table.of_rows(f"Scores: {group}", heads, rows), 2))
    return tables


def _limits(record: Record) -> list[str]:
    samples = next((one for one in record.metrics if one["group"] == "samples"), {})
    counted = ""
    if samples.get("n_generated") and samples.get("n_real"):
        counted = f"{samples['n_generated']:,} samples against {count(samples['n_real'], 'real image')}, "
    seeds = listed(record.data["evaluation_seeds"])
    notes = dict.fromkeys(
        f"{one['label']}: {one['note']}" for one in record.metrics if one.get("note") and one["group"] in GROUPS
    )
    return [
        f"Scores are means over the evaluation seeds {seeds}, {counted}features of "
        f"{samples.get('extractor', 'none')}. They can be compared with others of the same protocol only.",
        "Brackets hold a 95 % interval over the images of the first evaluation seed: of this model alone. Another "
        "training seed gives another model, of which this says nothing.",
        "A model of this kind can return images that are close to its training images.",
        *notes,
    ]


def _environment(record: Record) -> list[str]:
    environment = record.data["environment"]
    packages = environment.get("packages") or {}
    commit = environment.get("git_commit")
    lines = [f"device: {environment['device']}", f"torch: {packages.get('torch')}"]
    lines += [f"code: {commit}{' with uncommitted changes' if environment.get('git_dirty') else ''}"] if commit else []
    return [*lines, f"made: {record.data['created']}", f"profile: {record.data['profile'] or number(None)}"]


def _code(text: str) -> str:
    """Text that cannot end the code that it stands in."""
    return one_line(text, limit=2000).replace("`", "'")
