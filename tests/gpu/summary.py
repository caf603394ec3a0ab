"""The readable summary of a GPU session, rebuilt from its JSON files alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Found = dict[str, Any]


def render(folder: Path) -> str:
    """Markdown of every part that has been run."""
    sections = {"device": _device, "tests": _tests, "times": _times, "smoke": _smoke, "resume": _resume}
    sections |= {"quick": _quick, "precisions": _precisions}
    parts = ["# One GPU"]
    for name, section in sections.items():
        path = folder / f"{name}.json"
        if path.exists():
            parts.append(section(json.loads(path.read_text(encoding="utf-8"))))
        else:
            parts.append(f"## {name}\n\nNot run, or not to its first result.")
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def _device(found: Found) -> str:
    gpu, packages = found["gpu"], found["packages"]
    rows = [("device", found["device"]), *gpu.items(), ("torch", packages["torch"]), ("commit", found["git_commit"])]
    return "## device\n\n" + table(("", ""), rows)


def _tests(found: Found) -> str:
    verdict = "all passed, none skipped" if found["good"] else "NOT GOOD: nothing after it counts"
    counts = ", ".join(f"{found[name]} {name}" for name in ("tests", "failures", "errors", "skipped"))
    return "\n\n".join(["## tests", f"{verdict}: {counts}.", *found["failed"]])


def _times(found: Found) -> str:
    parts = ["## times", "Milliseconds of a chain (chain, floor, peers) or an update: median, least and most."]
    for size in found["sizes"]:
        floor = size["seconds"].get("floor float32 NHWC", {}).get("median")
        rows = []
        for name, s in size["seconds"].items():
            spread = f"{1e3 * s['least']:.1f} to {1e3 * s['most']:.1f}"
            ratio = f"{s['median'] / floor:.2f}" if floor else "–"
            rows.append((name, f"{1e3 * s['median']:.1f}", spread, ratio, f"{s['tflop_per_second']:.1f}"))
        own = size["seconds"]["chain float32"]["median"]
        for name, seconds in size.get("peers", {}).get("seconds", {}).items():
            rows.append((name, f"{1e3 * seconds:.1f}", f"{seconds / own:.2f} times the chain's", "–", "–"))
        parts.append(f"### n_f = {size['n_f']}, side {size['side']}, batch {size['batch']}, K = {size['steps']}")
        parts.append(table(("", "ms", "", "over the float32 floor", "TFLOP/s"), rows))
        absent = [name for name, is_ in size.get("peers", {}).get("versions", {}).items() if is_ == "not installed"]
        parts += [f"Not installed: {', '.join(absent)}."] if absent else []
    return "\n\n".join(parts)


def _scores(rows: Sequence[Found]) -> str:
    def shown(row: Found) -> tuple[str, ...]:
        away = f"{(row['gpu'] - row['cpu']) / row['deviation']:+.1f}" if row["deviation"] else "–"
        return row["model"], row["score"], f"{row['gpu']:.4g}", f"{row['cpu']:.4g}", away, str(row["seeds"])

    return table(("model", "score", "GPU", "CPU, mean", "standard deviations away", "seeds"), [shown(r) for r in rows])


def _smoke(found: Found) -> str:
    verdict = "Two runs agree in every byte." if found["good"] else f"TWO RUNS DIFFER: {', '.join(found['different'])}"
    return "\n\n".join(["## smoke", verdict, _scores(found["scores"])])


def _resume(found: Found) -> str:
    at = ", ".join(map(str, found["stopped_at"]))
    verdict = "The same as one never stopped." if found["good"] else f"NOT THE SAME: {', '.join(found['different'])}"
    return f"## resume\n\nStopped at update {at} of {found['of']} (status {found['status']}) and continued. {verdict}"


def _quick(found: Found) -> str:
    note = "One seed on the GPU, all committed seeds on a CPU: another machine is another seed at best."
    return "\n\n".join(["## quick", note, _scores(found["scores"])])


def _precisions(found: Found) -> str:
    names = ("energy gap", "gradient norm", "AUROC(data, chain)")
    rows = []
    for one in found["runs"]:
        last = [f"{one['last'][name]:.4g}" if name in one["last"] else "–" for name in names]
        seconds = f"{1e3 * one['seconds_an_update']:.1f}"
        rows.append((one["precision"], one["status"], one["updates"], seconds, f"{one['peak_memory_mib']:.0f}", *last))
    head = ("precision of the chain", "status", "updates", "ms an update", "peak MiB", *names)
    return "## precisions\n\n" + table(head, rows)
