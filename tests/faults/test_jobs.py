"""Cells side by side, `--jobs N`, that a signal ends."""

from __future__ import annotations

from bench.results.cell_folder import CellFolder
from bench.storage.checkpoint import load_checkpoint
from tests.faults.processes import fork, terminate, wait_until
from tests.test_faults import linux
from tests.test_jobs import AT_ONCE, GRID, training


@linux
def test_a_signal_reaches_the_workers_and_each_saves(tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    cells = [CellFolder(out, "digits", "ebm", seed) for seed in (0, 1)]
    endless = [*GRID, "training.grids=0", "ebm.updates=100000", "--models", "ebm", "--seeds", "0", "1"]
    process = fork([*endless, *AT_ONCE, "--out", out], log, report=False)
    assert wait_until(lambda: all(map(training, cells)), process), log.read_text()
    terminate(process, log)
    for cell in cells:
        done = load_checkpoint(cell.checkpoint_path)[1]["done"]
        assert 0 < done < 100_000
        assert (cell.read_status().state, cell.read_status().update) == ("interrupted", done)
