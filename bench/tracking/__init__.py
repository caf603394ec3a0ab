"""Trackers: what a training logs, draws and scores, sent to TensorBoard, Weights & Biases or MLflow as well.

A tracker is an extra copy. Records, logs and grids are written without it, training does not depend on it, and one
that fails is left out, with one line on stderr.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.errors import UserError, one_line
from bench.results.cell_folder import CellFolder

# name -> module of this room with `start(folder, config) -> Tracker`, what it imports, the extra that installs that
TRACKERS = {
    "tensorboard": ("bench.tracking.tensorboard", "tensorboard", "tensorboard"),
    "wandb": ("bench.tracking.wandb", "wandb", "wandb"),
    "mlflow": ("bench.tracking.mlflow", "mlflow", "mlflow"),
}
FOLDER = "tracking"  # of a results folder: what trackers keep on the disk


class Tracker(Protocol):
    """One run, of one cell. A resumed cell goes on with its run."""

    def scalars(self, update: int, values: Mapping[str, float]) -> None:
        """Finite numbers by name, after an update."""
        ...

    def picture(self, update: int, name: str, path: Path) -> None:
        """A PNG on the disk, after an update."""
        ...

    def close(self, status: str) -> None:
        """The end: a status of `bench.results.schema.STATUSES`, or "" for a cell that was interrupted."""
        ...


class Trackers:
    """All trackers of a cell; the first error of one is told of in one line, and it is not asked again."""

    def __init__(self, names: Iterable[str], folder: CellFolder, config: Mapping[str, Any]):
        self._open: dict[str, Tracker] = {}
        for name in names:
            module = TRACKERS[name][0]
            found = self._tried(name, lambda module=module: importlib.import_module(module).start(folder, flat(config)))
            if found is not None:
                self._open[name] = found

    def scalars(self, update: int, values: Mapping[str, float], group: str = "train") -> None:
        """Numbers of a group ("train", "scores"); their names are made fit for every tracker."""
        named = {f"{group}/{fit(name)}": float(value) for name, value in values.items()}
        self._each(lambda one: one.scalars(update, named))

    def picture(self, update: int, name: str, path: Path) -> None:
        self._each(lambda one: one.picture(update, name, path))

    def finished(self, record: Mapping[str, Any], samples: Path) -> None:
        """The scores of a cell's record, and its sheet of samples where there is one."""
        update = record["training"]["updates"]
        values = {metric["name"]: metric["value"] for metric in record["metrics"]}
        if values:
            self.scalars(update, values, "scores")
        if samples.is_file():
            self.picture(update, "samples", samples)
        self.close(record["status"])

    def close(self, status: str = "") -> None:
        """End every run; what was ended already stays as it is."""
        self._each(lambda one: one.close(status))
        self._open.clear()

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, one in list(self._open.items()):
            self._tried(name, lambda one=one: action(one))

    def _tried(self, name: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # a service, its client or its disk fails in any way
            self._open.pop(name, None)
            reason = one_line(f"{type(error).__name__}: {error}")
            print(f"--track {name} failed ({reason}): the run goes on without it", file=sys.stderr, flush=True)
            return None


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once; UserError for one that is unknown, or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track {one_line(name)} is unknown: choose from {', '.join(TRACKERS)}")
        _, package, extra = TRACKERS[name]
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--track {name}: {package} is not installed: pip install short-run-ebm-benchmark[{extra}]")
    return tuple(dict.fromkeys(names))


def fit(name: str) -> str:
    """A name that every tracker takes: `AUROC(data, chain)` becomes `AUROC_data_chain`."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "unnamed"


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings as `model.steps`: numbers, truths and texts; anything else as text."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found


def title(folder: CellFolder) -> str:
    """The name of a cell's run, and its folder below `FOLDER`: `digits/ebm/seed-0`."""
    return "/".join(folder.path.parts[-3:])
