"""What was scored, against which images and how well: as a table, as files, and as a record for `bench.report`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench.contract.scores import Score
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import Evaluator, Picture
from bench.evaluation.references import Reference
from bench.machine import runtime
from bench.results.cell_folder import RECORD
from bench.results.entries import references_json, scores_json
from bench.results.record import write_record
from bench.results.schema import ELSEWHERE, SCHEMA, UNKNOWN
from bench.storage.files import write_bytes, write_json

FILE = "scores.json"
ARROWS = {"lower": " ↓", "higher": " ↑"}  # by what is better
Json = dict[str, Any]  # values that a JSON file can hold


@dataclass(frozen=True)
class About:
    """What nothing but its user knows of images made elsewhere: for the row that they get in a table."""

    label: str = ""  # of the model that made them; "": after the source
    training_seed: int = 0
    command: str = ""


@dataclass(frozen=True)
class Origin:
    """How images made elsewhere were scored, as far as a record has to say it."""

    about: About  # with a label
    dataset: str  # the data set as it was asked for
    data: DataConfig
    device: torch.device


@dataclass(frozen=True)
class Scores:
    """What was scored, against which images and how well."""

    source: str
    evaluator: Evaluator
    seeds: tuple[int, ...]
    scores: list[Score]
    references: dict[str, Reference]
    pictures: dict[str, Picture]
    further: Json  # what is known of a source of this kind alone
    origin: Origin | None = None  # of images made elsewhere

    def content(self) -> Json:
        """What scores.json holds."""
        data, extractor = self.evaluator.data, self.evaluator.extractor
        return {
            "source": self.source,
            "dataset": data.name,
            "data": data.describe(),
            "evaluation": {"extractor": extractor.label, **asdict(self.evaluator.config)},
            "evaluation_seeds": list(self.seeds),
            "metrics": scores_json(self.scores),
            "references": references_json(self.references),
            **self.further,
            "images": self._images(),
        }

    def record(self, origin: Origin) -> Json:
        """What record.json holds: a record of origin `elsewhere`, in which all that a training would tell is null."""
        data, extractor, about = self.evaluator.data, self.evaluator.extractor, origin.about
        described = data.describe()
        notes = [f"{about.label}, made elsewhere: {note}" for note in self.further.get("notes", [])]
        return {
            "schema": SCHEMA,
            "origin": ELSEWHERE,
            "dataset": data.name,
            "model": about.label,
            "training_seed": about.training_seed,
            "evaluation_seeds": list(self.seeds),
            "status": "finished",
            "message": "",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": described | {"notes": [*described["notes"], *notes]},
            "config": {
                "data": {"source": origin.dataset, **origin.data.settings()},
                "model": {"factory": self.source},
                "evaluation": {"extractor": extractor.label, "seeds": self.seeds, **asdict(self.evaluator.config)},
            },
            **dict.fromkeys(UNKNOWN[""]),
            "sampler_step": "network evaluation",
            "training": dict.fromkeys(UNKNOWN["training"]),
            "metrics": scores_json(self.scores),
            "references": references_json(self.references),
            "untrained": None,
            "curves": [],
            "throughput": None,
            "environment": runtime.environment(origin.device),
            "images": self._images(),
            "profile": "",
            "command": about.command,
        }

    def _images(self) -> Json:
        return {name: picture.describe(f"{name}.png") for name, picture in self.pictures.items()}

    def table(self) -> str:
        """The scores as Markdown: a row each, with its interval, and the real and the noise reference."""
        head = ["score", "value", "95 % interval", *(reference.title for reference in self.references.values())]
        bounds = [{one.name: one for one in reference.scores} for reference in self.references.values()]
        lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
        for one in self.scores:
            interval = f"[{one.interval[0]:.4g}, {one.interval[1]:.4g}]" if one.interval else "–"
            others = [f"{known[one.name].value:.4g}" if one.name in known else "–" for known in bounds]
            cells = [one.label + ARROWS.get(one.better, ""), format(one.value, ".4g"), interval, *others]
            lines.append(f"| {' | '.join(cells)} |")
        counts = next(one for one in self.scores if one.group == "samples")
        made, real = f"{counts.n_generated:,} images of {self.source}", f"{counts.n_real:,}"
        against = f"{made} against {real} of {self.evaluator.data.name}"
        return "\n".join([*lines, "", f"{against}; features: {self.evaluator.extractor.label}."])

    def write(self, out: Path) -> None:
        """scores.json, the pictures and, of images made elsewhere, record.json; UserError where it cannot be done."""
        try:
            for name, picture in self.pictures.items():
                write_bytes(out / f"{name}.png", picture.png())
            write_json(out / FILE, self.content())
            if self.origin is not None:
                write_record(out / RECORD, self.record(self.origin))
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"--out {out} cannot be written ({reason}): choose another folder") from None
