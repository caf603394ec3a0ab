"""Synthetic results folders: records, logs and tile sheets as a comparison leaves them, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.report.content.outcomes import Absent
from bench.report.content.sections import Section, split
from bench.results.cell_folder import CellFolder
from bench.results.record import SCHEMA, Record, write_record
from tests import fabricate_scores as scores

PAIR = ("generated", "nearest in training")
SHEETS = {  # name -> rows, columns
    "samples": (8, 8),
    "originals": (2, 8),
    "reconstructions": (2, 8),
    "interpolations": (6, 9),
    "interpolations-reconstructed": (6, 9),
    "nearest": (4, 8),
    "chain": (6, 8),
}
LABELS = {
    "interpolations": [f"{i / 8:.2f}" for i in range(9)],
    "interpolations-reconstructed": [f"{i / 8:.2f}" for i in range(9)],
    "nearest": 4 * list(PAIR),
    "chain": ["0", "1", "3", "6", "10", "14", "17", "20"],
}


def record(
    dataset: str = "digits",
    model: str = "ebm",
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = (1, 8, 8),
    kid: float = 0.01,
    mse: float = 0.02,
    samples_per_second: float = 500.0,
    seconds: float = 35.0,
    n_generated: int = 1000,
    evaluation_seeds: tuple[int, ...] = (0, 1),
    diverged_at: int | None = None,
    out_of_memory: bool = False,
) -> dict[str, Any]:
    """A whole, valid record: of a run that diverged with `diverged_at`, out of memory with `out_of_memory`."""
    status, message = "finished", ""
    if diverged_at is not None:
        status, message = "diverged", f"energy gap became nan at update {diverged_at}"
    if out_of_memory:
        status, message = "oom", "out of memory at update 3: tried to allocate 20.00 GiB"
        diverged_at = 2
    diverged = status != "finished"
    steps = 20 if model == "ebm" else 1
    extra = [] if diverged else list(SHEETS)
    if model != "ebm" and extra:
        extra.remove("chain")
    images: dict[str, Any] = {
        name: {"file": f"{name}.png", "rows": SHEETS[name][0], "columns": SHEETS[name][1]} for name in extra
    }
    for name in images.keys() & LABELS.keys():
        images[name]["labels"] = LABELS[name]
    settings: dict[str, Any] = {"steps": 20, "n_f": 32} if model == "ebm" else {"latent": 64}
    return {
        "schema": SCHEMA,
        "dataset": dataset,
        "model": model,
        "training_seed": seed,
        "evaluation_seeds": list(evaluation_seeds),
        "status": status,
        "message": message,
        "profile": "quick",
        "command": "python -m bench.compare --datasets digits",
        "created": "2026-01-01T00:00:00+00:00",
        "data": {
            "name": dataset,
            "image_shape": list(shape),
            "train": 1498,
            "held_out": 299,
            "split_seed": 0,
            "content_hash": "5f0c" * 16,
            "notes": ["299 held-out images, a sixth of the set: it is too small for 1,000"],
        },
        "config": {
            "data": {"image_size": shape[1], "train": 40000},
            "model": settings,
            "evaluation": {"features": "efficientnet-lite0", "generated": n_generated, "budget": 100, "lead": "KID"},
        },
        "parameters": 33000,
        "parameters_trained": 33000 if model == "ebm" else 66000,
        "network_evaluations_per_sample": steps,
        "sampler_step": "Langevin step" if model == "ebm" else "network evaluation",
        "training": {
            "updates": diverged_at if diverged else 700,
            "planned_updates": 700,
            "batch_size": 64,
            "seconds": seconds,
            "last": {"energy gap": 0.1},
        },
        "metrics": [] if diverged else scores.metrics(model, kid, mse, n_generated, len(evaluation_seeds)),
        "references": {} if diverged else scores.references(),
        "curves": [] if diverged else scores.curves(model, kid, mse),
        "throughput": None
        if diverged
        else {
            "samples_per_second": samples_per_second,
            "evaluations_per_second": steps * samples_per_second,
            "batch_size": 64,
            "repeats": 5,
            "device": "Example CPU @ 2.0 GHz",
            "dtype": "float32",
            "threads": 2,
            "peak_memory_mib": 400.0,
            "peak_memory_of": "process (resident)",
        },
        "environment": {
            "python": "3.11.7",
            "platform": "Linux-x86_64",
            "device": "Example CPU @ 2.0 GHz",
            "packages": {"torch": "2.14.1"},
            "git_commit": "abc1234",
            "git_dirty": False,
        },
        "images": images,
    }


def cell(root: Path, data: dict[str, Any], *, pictures: bool = True) -> Path:
    """Write a record with its log and tile sheets where they belong; the cell's folder."""
    own = CellFolder(root, data["dataset"], data["model"], data["training_seed"])
    write_record(own.record_path, data)
    generator = np.random.default_rng([data["training_seed"], len(data["model"])])
    _log(own.log_path, data, generator)
    for image in data["images"].values() if pictures else ():
        _sheet(own.path / image["file"], data["data"]["image_shape"], image["rows"], image["columns"])
    return own.path


def _log(path: Path, data: dict[str, Any], generator: np.random.Generator) -> None:
    names = {
        "ebm": ["energy gap", "gradient norm", "chain spread", "out of range"],
        "dcgan": ["discriminator loss", "generator loss"],
    }.get(data["model"], ["reconstruction", "divergence", "loss"])
    lines = [",".join(["update", "seconds", *names])]
    last = data["training"]["updates"]
    for update in range(10, last + 1, 10):
        values = [f"{(k + 1) * 30 / (30 + update) + 0.02 * generator.normal():.5f}" for k in range(len(names))]
        if data["status"] == "diverged" and update > last - 30:
            values = ["1e9"] * len(names) if update <= last - 20 else ["nan"] * len(names)
        lines.append(",".join([str(update), f"{update / 20:.1f}", *values]))
    path.write_text("\n".join(lines) + "\n")


def _sheet(path: Path, shape: list[int], rows: int, columns: int) -> None:
    """Discs whose place changes along the rows and columns: what is where can be told by eye and by test."""
    channels, height, width = shape
    y, x = np.mgrid[0:height, 0:width] / height
    sheet = np.zeros((rows * height, columns * width, 3))
    for i in range(rows):
        for j in range(columns):
            centre = 0.3 + 0.4 * i / rows, 0.3 + 0.4 * j / columns
            disc = np.clip(4 * (0.35 - np.hypot(y - centre[0], x - centre[1])), 0, 1)
            colour = np.array([1, i / rows, j / columns]) if channels == 3 else np.ones(3)
            sheet[i * height : (i + 1) * height, j * width : (j + 1) * width] = disc[:, :, None] * colour
    pixels = np.round(255 * sheet).astype(np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(path)


def comparison(root: Path) -> Path:
    """Two data sets, three models with three seeds (one of them diverged) or one model with one; `root` again."""
    for seed, kid in enumerate([0.010, 0.012, 0.017]):
        cell(root, record("digits", "ebm", seed, kid=kid, mse=kid / 2, seconds=30.0 + seed))
        cell(root, record("digits", "vae", seed, kid=3 * kid, diverged_at=812 if seed == 2 else None))
        cell(root, record("digits", "dcgan", seed, kid=5 * kid, mse=0.05 - kid))
    cell(root, record("folder:my/birds", "ebm", 0, shape=(3, 32, 32)))
    return root


def decided(model: str, seeds: int = 3, **settings: Any) -> list[dict[str, Any]]:
    """Records of one model whose seeds barely differ: an EBM far ahead of every other model in KID and FD."""
    kid = {"ebm": 0.01, "vae": 0.03}.get(model, 0.05)
    return [record("digits", model, seed, kid=kid * (1 + 0.001 * seed), **settings) for seed in range(seeds)]


def sections_of(*records: dict[str, Any], absent: tuple[Absent, ...] = ()) -> list[Section]:
    """The sections of these records, read from nowhere."""
    return split([Record(Path(f"cells/{i}/record.json"), data) for i, data in enumerate(records)], absent)


def section_of(*records: dict[str, Any]) -> Section:
    (section,) = sections_of(*records)
    return section
