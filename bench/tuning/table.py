"""The trials as a CSV file, and the best one as options for `bench.compare`."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.storage.files import write_text
from bench.tuning.trial import Outcome

FILE = "trials.csv"


def write(out: Path, outcomes: Sequence[Outcome]) -> None:
    """Atomic: a row for each trial, its settings last."""
    settings = list(dict.fromkeys(name for one in outcomes for name in one.settings))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", "score", "seconds", "updates", "seed", "message", *settings])
    for number, one in enumerate(outcomes):
        score = "" if one.score is None else repr(one.score)
        values = [plain(one.settings[name]) if name in one.settings else "" for name in settings]
        row = [number, one.status, score, f"{one.seconds:.3f}", one.updates, one.seed, one.message]
        writer.writerow([*row, *values])
    write_text(out / FILE, text.getvalue())


def best(outcomes: Sequence[Outcome]) -> int | None:
    """The number of the finished trial with the lowest score, the first of equals; None where none finished."""
    scored = [(one.score, number) for number, one in enumerate(outcomes) if one.score is not None]
    return min(scored)[1] if scored else None


def options(model: str, outcome: Outcome, validation: int) -> str:
    """The options with which `bench.compare` trains as that trial did, ready for a shell."""
    settings = {"updates": outcome.updates, **outcome.settings}
    texts = [f"{model}.{name}={plain(value)}" for name, value in settings.items()]
    return shlex.join(["--set", f"data.validation={validation}", *texts])


def plain(value: Any) -> str:
    """A value as `--set` takes it: TOML, or a bare word."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(plain, value))}]"
    return value if isinstance(value, str) else repr(value)
