"""Error and power of the rule that names winners, `statistics.winners`: run by hand, prints a table of Markdown.

    python -m tests.simulations.winners [--tables 10000]

Scores are normal with deviation 1, over 12 columns of which the first leads; lower is better.
"""

from __future__ import annotations

import argparse

import numpy as np

from bench.report.content.statistics import lead_first, welch

COLUMNS = 12


def decided(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (tables, columns, models, seeds) -> corrected p-values and best models, both (tables, columns)."""
    best = scores.mean(-1).argmin(-1)
    leader = np.take_along_axis(scores, best[..., None, None], axis=2)[:, :, 0]
    against = np.stack([welch(leader, scores[:, :, model]) for model in range(scores.shape[2])], axis=-1)
    np.put_along_axis(against, best[..., None], 0.0, axis=-1)  # itself
    greatest = against.max(-1)
    return np.concatenate([greatest[:, :1], lead_first(greatest[:, 0], greatest[:, 1:])], axis=1), best


def false_winners(scores: np.ndarray) -> dict[str, float]:
    """The share of tables with any false winner, of standard normal scores that are made unequal in four ways."""
    pair = scores.copy()
    pair[:, :, 2:] += 100  # two models are equally good, and far better than all others
    four, hundred, opened = pair.copy(), pair.copy(), pair.copy()
    four[:, :, 0] *= 2
    hundred[:, :, 0] *= 10
    opened[:, 0, 1:] += 100  # the lead has a true winner: all the others are tested
    cases = {
        "all models equal": scores,
        "two equal best models": pair,
        "one of them with 4 times the variance": four,
        "one of them with 100 times the variance": hundred,
    }
    found = {name: float(np.mean((decided(each)[0] <= 0.05).any(1))) for name, each in cases.items()}
    return found | {
        "two equal best models in all but the lead": float(np.mean((decided(opened)[0][:, 1:] <= 0.05).any(1)))
    }


def found_leads(scores: np.ndarray) -> dict[str, float]:
    """How often a lead of 4 standard deviations is found, in the lead score and in the other columns."""
    everywhere = scores.copy()
    everywhere[:, :, 1:] += 4
    half = everywhere.copy()
    half[:, 1:6, 1:] -= 4
    p, best = decided(everywhere)
    right = (p <= 0.05) & (best == 0)
    p, best = decided(half)
    return {
        "found in the lead score": float(right[:, 0].mean()),
        "found in the others, all of which have it": float(right[:, 1:].mean()),
        "found in the others, six of which have it": float(((p <= 0.05) & (best == 0))[:, 6:].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=10_000)
    tables = parser.parse_args().tables
    cells: dict[str, list[str]] = {}
    sizes = [(3, 3), (6, 3), (3, 5), (6, 5)]
    for models, seeds in sizes:
        scores = np.random.default_rng([models, seeds]).standard_normal((tables, COLUMNS, models, seeds))
        for name, share in (false_winners(scores) | found_leads(scores)).items():
            cells.setdefault(name, []).append(f"{100 * share:.1f} %")
    print(f"| | {' | '.join(f'{models} models, {seeds} seeds' for models, seeds in sizes)} |\n|{' --- |' * 5}")
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
