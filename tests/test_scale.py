"""The measurement of the engines, `python -m tests.scale`: a few cells in this process, and what is made of times."""

from __future__ import annotations

import json

import pytest

from tests.scale import __main__ as program
from tests.scale import table, timed
from tests.scale.timed import Grid, run, summary


@pytest.mark.parametrize(("model", "status"), [("Empty", "diverged"), ("Smallest", "finished")])
def test_cells_that_do_nothing_come_to_a_record(model, status, monkeypatch):
    seen = []
    monkeypatch.setattr(timed, "recorded", lambda cells: seen.extend(cells) or [1.0, 2.0, 3.0])
    monkeypatch.setattr(timed.Local, "complete", complete := Complete(timed.Local.complete))
    found = run(Grid(f"tests.scale.nothing:{model}", 3, smallest=True))
    assert complete.statuses == [status] * 3
    assert [cell.seed for cell in seen] == [0, 1, 2]
    assert found["prepare_seconds"] > 0
    assert found["complete_seconds"] > 0
    assert found["cell_ms"] > 1000.0  # a second from one record to the next, and the statuses written before them


class Complete:
    """A `complete` that keeps what it came to."""

    def __init__(self, real):
        self.real = real

    def __get__(self, engine, kind):
        def complete(prepared, evaluators):
            self.statuses = self.real(engine, prepared, evaluators)
            return self.statuses

        return complete


def test_times_of_a_run():
    found = summary(10.0, 12.0, 30.0, [13.0, 13.01, 13.02, 13.04, 13.06, 13.1, 13.14, 13.18, 13.22], 0.9)
    assert found == pytest.approx(
        {
            "prepare_seconds": 2.0,
            "complete_seconds": 18.0,
            "first_record_seconds": 1.0,
            "cell_ms": 27.5 + 100,
            "cell_ms_first_quarter": 10.0,
            "cell_ms_last_quarter": 40.0,
        }
    )
    assert "cell_ms" not in summary(0, 1, 2, [1.5, 1.6], 0.0)


def test_the_table():
    runs = [
        {"prepare_seconds": 0.5, "cell_ms": ms, "cell_ms_first_quarter": 9.0, "cell_ms_last_quarter": 11.0}
        for ms in (10.0, 12.0, 30.0)
    ]
    slow = [one | {"cell_ms": 25.0} for one in runs[:1]]
    row = {"model": "Empty", "kind": "cells that do nothing", "cells": 1000, "engine": "a"}
    content = {
        "machine": {"device": "CPU", "cores": 2, "python": "3.13", "torch": "2", "ray": None, "datetime": "now"},
        "overhead": [
            row | {"runs": [runs[0] | {"tables_seconds": 7.0}, *runs[1:]]},
            row | {"runs": slow, "engine": "b"},
            row | {"runs": slow, "engine": "c", "model": "Smallest", "kind": "other cells"},
        ],
        "speedup": {
            "model": "ebm",
            "cells": 8,
            "updates": 5,
            "one": [{"complete_seconds": 80.0}, {"complete_seconds": 90.0}, {"complete_seconds": 100.0}],
            "two": [{"complete_seconds": 50.0}, {"complete_seconds": 45.0}, {"complete_seconds": 40.0}],
        },
    }
    text = table.render(content)
    assert "CPU, 2 cores; python 3.13, torch 2; now." in text
    assert "| 1,000 cells that do nothing | a | 12.0 (10.0 to 30.0), met | 9.0, 11.0 | 0.50 | 7.0 |" in text
    assert "| 1,000 cells that do nothing | b | 25.0, MISSED | 9.0, 11.0 | 0.50 | – |" in text
    assert "| 1,000 other cells | c | 25.0 | 9.0, 11.0 | 0.50 | – |" in text
    assert "| speed-up | 2.00 (1.60 to 2.50) |" in text
    assert "| one worker, one thread | 90.0 (80.0 to 100.0) s |" in text


def test_parts_run_apart_fill_one_file(tmp_path, monkeypatch):
    asked = []

    def measured(wanted):
        asked.append(wanted)
        return {"complete_seconds": 8.0 / wanted.jobs} | dict.fromkeys(MEASURED, 15.0)

    monkeypatch.setattr(program, "measured", measured)
    out = ["--out", str(tmp_path), "--repeats", "2"]
    assert program.main(["overhead", "--engines", "local", "jobs", "--cells", "40", *out]) == 0
    assert [(one.cells, one.jobs) for one in asked] == [(40, 1), (40, 2)] * 2 + [(4, 1), (4, 2)] * 2
    assert [one.tables for one in asked] == [True, False, False, False] * 2
    del asked[:]
    assert program.main(["speedup", *out]) == 0
    assert [(one.model, one.cells, one.jobs) for one in asked] == [("ebm", 8, 1), ("ebm", 8, 2)] * 2
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found.keys() == {"machine", "overhead", "speedup"}
    text = (tmp_path / "table.md").read_text()
    assert "| 40 cells that do nothing | `--jobs 2`, one thread a cell | 15.0 (15.0 to 15.0), met |" in text
    assert "| speed-up | 2.00 (2.00 to 2.00) |" in text
    with pytest.raises(SystemExit):
        program.main(["speed", *out])


MEASURED = ("prepare_seconds", "cell_ms", "cell_ms_first_quarter", "cell_ms_last_quarter", "tables_seconds")
