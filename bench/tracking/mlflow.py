"""MLflow: a run for each cell, in the store that MLFLOW_TRACKING_URI names, or in a database below `tracking`.

The database is SQLite's (`mlflow ui --backend-store-uri sqlite:///RESULTS/tracking/mlflow.db`): stores of plain files
are no longer kept up by MLflow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from bench.results.cell_folder import CellFolder
from bench.tracking import FOLDER, title

URI, DATABASE = "MLFLOW_TRACKING_URI", "mlflow.db"
CELL = "shortrun.cell"  # the tag by which a resumed cell finds its run
ENDED = ("FINISHED", "FAILED")
LONGEST = 500  # letters of a parameter


class MLflow:
    """A run of an experiment that is called after the results folder."""

    def __init__(self, client: MlflowClient, run_id: str):
        self.client, self.run_id = client, run_id

    def scalars(self, update: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, [Metric(name, value, now, update) for name, value in values.items()])

    def picture(self, update: int, name: str, path: Path) -> None:
        self.client.log_artifact(self.run_id, str(path), name)

    def close(self, status: str) -> None:
        ends = {"finished": "FINISHED", "": "KILLED"}
        self.client.set_tag(self.run_id, "status", status or "interrupted")
        self.client.set_terminated(self.run_id, ends.get(status, "FAILED"))


def _experiment(client: MlflowClient, name: str, place: str | None) -> str:
    """The id of the experiment, made where it is not there; another process may make it at the same time."""
    if (found := client.get_experiment_by_name(name)) is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name, artifact_location=place)
    except MlflowException:
        if (found := client.get_experiment_by_name(name)) is None:
            raise
        return found.experiment_id


def start(folder: CellFolder, config: Mapping[str, Any]) -> MLflow:
    """A new run, or the one of this cell that was interrupted."""
    place, uri = (folder.out / FOLDER).absolute(), os.environ.get(URI)
    place.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(uri or f"sqlite:///{place / DATABASE}")
    name = folder.out.name or "shortrun"
    number = _experiment(client, name, None if uri else (place / "mlflow-artifacts").as_uri())
    for run in client.search_runs([number], f"tags.`{CELL}` = '{title(folder)}'"):
        if run.info.status not in ENDED:
            client.update_run(run.info.run_id, status="RUNNING")
            return MLflow(client, run.info.run_id)
    run_id = client.create_run(number, run_name=title(folder)).info.run_id
    params = [Param(key, str(value)[:LONGEST]) for key, value in config.items()]
    client.log_batch(run_id, params=params, tags=[RunTag(CELL, title(folder))])
    return MLflow(client, run_id)
