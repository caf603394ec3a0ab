"""What was measured of the engines, as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

WANTED_MS = 20.0  # a cell that does nothing


def render(content: dict[str, Any]) -> str:
    """The tables of what `scale.json` holds: the overhead, the speed-up, or both."""
    parts = ["# Engines", about(content["machine"])]
    if "overhead" in content:
        parts.append(overhead(content["overhead"]))
    if "speedup" in content:
        parts.append(speedup(content["speedup"]))
    return "\n\n".join(parts) + "\n"


def about(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "ray") if machine.get(name))
    return f"{machine['device']}, {machine['cores']} cores; {versions}; {machine['datetime']}."


def overhead(rows: list[dict[str, Any]]) -> str:
    """A row for each engine and kind of cell."""
    lines = [
        f"## Overhead a cell (wanted for cells that do nothing: under {WANTED_MS:g} ms)",
        "",
        "| cells | engine | ms a cell (range) | first, last quarter | preparing a cell, ms | tables of all, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        runs = row["runs"]
        cell = [run["cell_ms"] for run in runs]
        quarters = [median(runs, f"cell_ms_{name}_quarter") for name in ("first", "last")]
        tables = [run["tables_seconds"] for run in runs if "tables_seconds" in run]
        met = ""
        if row["model"] == "Empty":
            met = ", met" if statistics.median(cell) < WANTED_MS else ", MISSED"
        lines.append(
            f"| {row['cells']:,} {row['kind']} | {row['engine']} | {spread(cell)}{met} "
            f"| {quarters[0]:.1f}, {quarters[1]:.1f} "
            f"| {1000 * median(runs, 'prepare_seconds') / row['cells']:.2f} "
            f"| {f'{statistics.median(tables):.1f}' if tables else '–'} |"
        )
    return "\n".join(lines)


def speedup(found: dict[str, Any]) -> str:
    """The times of both and their ratio, run by run."""
    one, two = ([run["complete_seconds"] for run in found[name]] for name in ("one", "two"))
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    return "\n".join(
        [
            f"## {found['cells']} cells of `{found['model']}` on digits, {found['updates']} updates each",
            "",
            f"In turns, {len(ratios)} times: all cells' seconds, with the start of the workers.",
            "",
            "| | median (range) |",
            "| --- | --- |",
            f"| one worker, one thread | {spread(one)} s |",
            f"| two workers, one thread each | {spread(two)} s |",
            f"| speed-up | {spread(ratios, 2)} |",
        ]
    )


def median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def spread(values: list[float], digits: int = 1) -> str:
    """`12.3 (11.9 to 12.8)`; one value alone has no range."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"
