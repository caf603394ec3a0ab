"""How often the 95 % interval of one model covers the score's expectation: run by hand, prints a table of Markdown.

    OMP_NUM_THREADS=1 python -m tests.simulations.intervals [--width 128] [--trials 400] [--images 64 300 1000]

Features are those of a drawn network: ten modes in 16 dimensions through one rectified layer, with a little noise. The
"generated" images come from a model that is close to the real one (all modes but one, moved a little) or far from it
(half the modes, too narrow). Each trial draws a new set of generated images against the same real ones; what should be
covered is the mean of the score over all trials.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from bench.features import Features
from bench.metrics import METRICS, FeatureSets, bootstrap

REAL, HELD_OUT = 1_000, 500
MODELS = {  # modes of ten, shift of all latents, their deviation within a mode
    "close": (9, 0.15, 1.1),
    "far": (5, 0.5, 0.7),
}


class World:
    """Where images come from: `draw` gives features (n, width) and logits (n, 10) as functions of the seed."""

    def __init__(self, width: int, seed: int = 0):
        make = torch.Generator().manual_seed(seed)
        self.modes = 2 * torch.randn(10, 16, generator=make)
        self.weight = torch.randn(16, width, generator=make) / 4
        self.bias = 0.3 * torch.randn(width, generator=make)
        self.classes = torch.randn(16, 10, generator=make) / 2

    def draw(self, n: int, seed: int, modes: int = 10, shift: float = 0.0, deviation: float = 1.0) -> Features:
        draw = torch.Generator().manual_seed(seed)
        latents = self.modes[torch.randint(modes, (n,), generator=draw)] + shift
        latents = latents + deviation * torch.randn(n, 16, generator=draw)
        noise = 0.05 * torch.randn(n, self.weight.shape[1], generator=draw)
        return Features(torch.relu(latents @ self.weight + self.bias) + noise, latents @ self.classes)


def trials(
    names: Sequence[str], n: int, count: int, *, width: int, model: str = "close"
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """name -> (values, lows, highs), each (count,), of the metrics that n images allow."""
    world = World(width)
    base = FeatureSets(world.draw(REAL, 1), world.draw(n, 3), world.draw(HELD_OUT, 2))
    found: dict[str, list[tuple[float, float, float]]] = {}
    for trial in range(count):
        sets = base.with_generated(world.draw(n, 100 + trial, *MODELS[model]))
        scores = {name: METRICS[name].function(sets, seed=trial) for name in names}
        scores = {name: score for name, score in scores.items() if score is not None}
        bounds = bootstrap.intervals(list(scores.values()), seed=trial)
        for (name, score), interval in zip(scores.items(), bounds, strict=True):
            assert interval is not None
            found.setdefault(name, []).append((score.value, *interval))
    return {name: tuple(np.array(rows).T) for name, rows in found.items()}


def coverage(values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> float:
    """The share of intervals that hold the mean of the values."""
    return float(np.mean((lows <= values.mean()) & (values.mean() <= highs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--images", type=int, nargs="+", default=[64, 300, 1000])
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=list(METRICS))
    options = parser.parse_args()
    cells: dict[str, dict[str, str]] = {}
    columns = []
    for model in MODELS:
        for n in options.images:
            columns.append(f"{model}, {n:,}")
            for name, (values, lows, highs) in trials(
                options.metrics, n, options.trials, width=options.width, model=model
            ).items():
                ratio = (highs - lows).mean() / (2 * 1.96 * values.std(ddof=1))
                text = f"{coverage(values, lows, highs):.3f} ({ratio:.2f})"
                cells.setdefault(name, {})[columns[-1]] = text
                print(f"{columns[-1]}: {name} {values.mean():.4g}: {text}", flush=True)
    print(f"\n| score | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
    for name in options.metrics:
        row = [cells.get(name, {}).get(column, "–") for column in columns]
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
