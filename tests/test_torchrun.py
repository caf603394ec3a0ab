"""One training by several processes from the command line: what torchrun cannot start is refused."""

from __future__ import annotations

from tests import ranks as processes
from tests.faults.processes import PROJECTION, SMOKE
from tests.test_faults import linux


@linux
def test_a_refusal_is_one_line_and_lets_the_other_rank_end(tmp_path, monkeypatch):
    vae = [*SMOKE, *PROJECTION, "--models", "vae", "--out", str(tmp_path / "out")]
    statuses, said = processes.Together(vae, tmp_path, monkeypatch).end()
    assert statuses == [2, 0], said
    assert [line for line in said[0].splitlines() if line.startswith("bench.compare: ")] == [
        "bench.compare: vae shares no update among ranks: run it without torchrun, several cells at once with --jobs"
    ]
    assert said[1] == ""
