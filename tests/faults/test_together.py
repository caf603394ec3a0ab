"""Several processes at one results folder: every cell is made once, and each process ends with all of them."""

from __future__ import annotations

import re

from tests.faults.processes import PATIENCE, SMOKE, start
from tests.faults.results import assert_nothing_left_over, assert_same_results, cells


def test_two_processes_share_a_grid(reference, tmp_path, measured):
    processes = [start([*SMOKE, "--out", tmp_path]) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert not any("Traceback" in text for text in said)
    made = [re.findall(r"digits (\w+) seed 0: finished after", text) for text in said]
    there = [re.findall(r"digits (\w+) seed 0: already there", text) for text in said]
    assert sorted(made[0] + made[1]) == ["dcgan", "ebm", "vae"]
    assert all(sorted(m + t) == ["dcgan", "ebm", "vae"] for m, t in zip(made, there, strict=True))
    assert_same_results(reference, tmp_path)
    assert_nothing_left_over(tmp_path)
    assert (tmp_path / "table.md").exists()
    assert len(cells(tmp_path)) == 3
    measured(f"two processes on one grid: {len(made[0])} and {len(made[1])} cells")
