"""Records of images made elsewhere: what `bench.evaluate --out RESULTS/elsewhere/NAME` leaves in a results folder."""

from __future__ import annotations

from pathlib import Path

from bench.results.cell_folder import RECORD
from bench.results.record import Record, read

FOLDER = "elsewhere"  # of a results folder, with a folder for each record


def read_elsewhere(out: Path) -> list[Record]:
    """Every such record of a results folder, by data set, label and training seed; UserError for a damaged one."""
    records = [Record(path, read(path)) for path in sorted(Path(out).glob(f"{FOLDER}/*/{RECORD}"))]
    return sorted(records, key=lambda record: (record.dataset, record.model, record.seed))
