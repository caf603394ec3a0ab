"""Synthetic results folders: records, logs and tile sheets as a comparison leaves them, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.records import cell_folder, write_json

SHEETS = {  # name -> rows, columns
    "samples": (8, 8),
    "originals": (2, 8),
    "reconstructions": (2, 8),
    "interpolations": (6, 9),
    "chain": (6, 8),
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
    diverged_at: int | None = None,
) -> dict[str, Any]:
    """A whole, valid record; with `diverged_at` one of a run that diverged."""
    diverged = diverged_at is not None
    against = {
        "extractor": "efficientnet-lite0",
        "resize": 224,
        "weights_hash": "0123456789abcdef",
        "n_real": 1498,
        "n_generated": n_generated,
    }
    images = {
        name: {"file": f"{name}.png", "rows": rows, "columns": columns} for name, (rows, columns) in SHEETS.items()
    }
    images["chain"]["labels"] = ["0", "1", "3", "6", "10", "14", "17", "20"]
    if model != "ebm":
        del images["chain"]
    return {
        "schema": 1,
        "dataset": dataset,
        "model": model,
        "training_seed": seed,
        "evaluation_seed": 0,
        "status": "diverged" if diverged else "finished",
        "message": f"energy gap became nan at update {diverged_at}" if diverged else "",
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
            "model": {"steps": 20, "n_f": 32} if model == "ebm" else {"latent": 64},
            "evaluation": {"features": "efficientnet-lite0", "generated": n_generated, "budget": 100},
        },
        "parameters": 33000,
        "parameters_trained": 33000 if model == "ebm" else 66000,
        "network_evaluations_per_sample": 20 if model == "ebm" else 1,
        "training": {
            "updates": diverged_at if diverged else 700,
            "planned_updates": 700,
            "batch_size": 64,
            "seconds": seconds,
            "last": {"energy gap": 0.1},
        },
        "metrics": [] if diverged else _metrics(kid, mse, against, 1 if model == "vae" else 100),
        "throughput": None
        if diverged
        else {
            "samples_per_second": samples_per_second,
            "evaluations_per_second": 20 * samples_per_second,
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
        "images": {} if diverged else images,
    }


def _metrics(kid: float, mse: float, against: dict[str, Any], budget: int) -> list[dict[str, Any]]:
    def metric(name: str, label: str, value: float, better: str, **extra: Any) -> dict[str, Any]:
        unit = "100 subsets of 500" if "extractor" in extra else "299 images" if name == "MSE" else "64 pairs"
        spread = {"spread": abs(value) / 10, "spread_of": unit}
        return {"name": name, "label": label, "value": value, **spread, "better": better, "lead": False, **extra}

    name = against["extractor"]
    return [
        metric("FD", f"FD({name})", 5000 * kid, "lower", **against),
        metric("KID", f"KID({name})", kid, "lower", **against) | {"lead": True},
        metric("IS", f"IS({name})", 2 + 10 * kid, "higher", **against),
        metric("MSE", "reconstruction MSE", mse, "lower", n=299, budget=budget, budget_unit="decodes per image"),
        metric("length ratio", "interpolation length ratio", 1.3 + kid, "lower", n=64, points=9),
        metric("largest step", "interpolation largest step", 0.2 + kid, "lower", n=64, points=9),
    ]


def cell(root: Path, data: dict[str, Any], *, pictures: bool = True) -> Path:
    """Write a record with its log and tile sheets where they belong; the cell's folder."""
    folder = cell_folder(root, data["dataset"], data["model"], data["training_seed"])
    write_json(folder / "record.json", data)
    generator = np.random.default_rng([data["training_seed"], len(data["model"])])
    _log(folder / "log.csv", data, generator)
    for image in data["images"].values() if pictures else ():
        _sheet(folder / image["file"], data["data"]["image_shape"], image["rows"], image["columns"])
    return folder


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
        cell(root, record("digits", "ebm", seed, kid=kid, seconds=30.0 + seed))
        cell(root, record("digits", "vae", seed, kid=3 * kid, diverged_at=812 if seed == 2 else None))
        cell(root, record("digits", "dcgan", seed, kid=5 * kid))
    cell(root, record("folder:my/birds", "ebm", 0, shape=(3, 32, 32)))
    return root
