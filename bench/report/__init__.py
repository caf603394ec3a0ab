"""Tables, plots and page of a results folder, rebuilt from its records alone: no torch, no model, no data set."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.results.cell_folder import read_all
from bench.results.elsewhere import read_elsewhere
from bench.results.locks import reporting


def build(root: Path) -> list[Path]:
    """Write every table and plot of the results folder `root` and its page; return the files written, in order.

    The same records give the same bytes. Files that do not belong to the report are left alone.
    Raises UserError if there is no such folder, no record, or a record that cannot be used; nothing is written then.
    """
    # pandas and matplotlib take a second to import: `python -m bench.report --help` does not have to wait for them.
    from bench.report.content import outcomes, sections
    from bench.report.page import page
    from bench.report.plots import draw as plots
    from bench.report.tables import files

    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"no results folder {root}: check the path, or make one with python -m bench.compare --out {root}"
        )
    if not read_all(root) + read_elsewhere(root):  # reads them all: if one cannot be read, nothing is written
        raise UserError(f"no records under {root / 'cells'}: make some with python -m bench.compare --out {root}")
    with reporting(root):  # read again under the lock: another process may have added records
        records = read_all(root)
        parts = sections.split(records + read_elsewhere(root), outcomes.absent(root, records))
        drawn = plots.write(root, parts)
        return [*files.write(root, parts), *drawn, *page.write(root, parts, plots=drawn)]
