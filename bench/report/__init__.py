"""Tables, plots and page of a results folder, rebuilt from its records alone: no torch, no model, no data set."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.results.cell_folder import read_all
from bench.results.locks import reporting


def build(root: Path) -> list[Path]:
    """Write every table and plot of the results folder `root` and its page, index.html; the files written, in order.

    The same records give the same bytes. Files that the report does not write are left alone.
    UserError where there is no such folder, no record, or a record that cannot be used; nothing is written then.
    """
    # pandas and matplotlib take a second to import: `python -m bench.report --help` need not wait for them.
    from bench.report.content import outcomes, sections
    from bench.report.page import page
    from bench.report.plots import draw as plots
    from bench.report.tables import files

    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"no results folder {root}: check the path, or make one with python -m bench.compare --out {root}"
        )
    if not read_all(root):  # all of them can be read, then: nothing is written where one cannot
        raise UserError(f"no records under {root / 'cells'}: make some with python -m bench.compare --out {root}")
    with reporting(root):  # what is read under the lock is the newest, whoever else writes this report
        records = read_all(root)
        parts = sections.split(records, outcomes.absent(root, records))
        drawn = plots.write(root, parts)
        return [*files.write(root, parts), *drawn, *page.write(root, parts, plots=drawn)]
