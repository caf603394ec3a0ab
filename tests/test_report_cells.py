"""Cells that have no scores: every one is shown with its status, none is averaged away."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench.report.content import outcomes
from bench.report.content.captions import caption
from bench.report.content.outcomes import Absent
from bench.report.content.ranking import rank
from bench.report.content.sections import Section, split
from bench.report.plots import style
from bench.report.tables import files
from bench.results.cell_folder import CellFolder, read_all
from bench.results.status import CellStatus
from tests import fabricate
from tests.fabricate import sections_of


def statuses(section: Section) -> dict[str, str]:
    return {row.label: row.status for row in section.rows}


# --- how cells end ---


def test_out_of_memory_is_an_outcome_of_its_own():
    (section,) = sections_of(
        *fabricate.decided("ebm"), fabricate.record(seed=3, out_of_memory=True), *fabricate.decided("vae")
    )
    assert statuses(section)["ebm"] == "3 finished, 1 out of memory"
    row = section.rows[0]
    assert (row.diverged, len(row.failed), row.score("KID").n) == ([], 1, 3)
    assert style.lost(row) == "1 out of memory"
    assert rank(section).withheld["KID"] == "ebm"  # a mean over survivors wins nothing
    text = "\n".join(caption(section))
    assert "Out of memory, and in no average: ebm, seed 3: out of memory at update 3" in text
    assert "ebm is ahead in KID" in text
    assert "but not all of its runs finished" in text


def test_every_kind_of_end_is_counted():
    dead = fabricate.record(seed=3, diverged_at=812)
    other = fabricate.record(seed=4, diverged_at=70)
    cells = (
        Absent("digits", "ebm", 5, "not run"),
        Absent("digits", "ebm", 6, "training, update 300 of 1000"),
        Absent("digits", "ebm", 7, "not run"),
    )
    records = [fabricate.record(seed=seed) for seed in (0, 1)]
    oom = fabricate.record(seed=2, out_of_memory=True)
    (section,) = sections_of(*records, oom, dead, other, absent=cells)
    assert statuses(section)["ebm"] == (
        "2 finished, 2 diverged at updates 812, 70, 1 out of memory, 2 not run, 1 training, update 300 of 1000"
    )
    assert [outcomes.outcome(record) for record in section.rows[0].records] == [
        *("finished", "finished", "out of memory"),
        *("diverged at update 812", "diverged at update 70"),
    ]


# --- cells without a record ---


@pytest.fixture
def started(tmp_path) -> Path:
    """ebm: two seeds finished, one interrupted; vae: one seed finished; dcgan: begun, without a record."""
    for seed in (0, 1):
        fabricate.cell(tmp_path, fabricate.record("folder:my/birds", "ebm", seed), pictures=False)
    fabricate.cell(tmp_path, fabricate.record("folder:my/birds", "vae", 0), pictures=False)
    trained = CellFolder(tmp_path, "folder:my/birds", "ebm", 2)
    trained.write_status(CellStatus("training", update=300, updates=1000))  # by a process that is gone
    CellFolder(tmp_path, "folder:my/birds", "dcgan", 0).path.mkdir(parents=True)
    (tmp_path / "cells" / "digits" / "ebm" / "seed-0").mkdir(parents=True)
    (tmp_path / "cells" / "digits" / "ebm" / "seed-0.old").mkdir()
    return tmp_path


def test_missing_cells_are_those_begun_and_those_that_the_others_lead_one_to_expect(started):
    found = outcomes.absent(started, read_all(started))
    assert [(one.dataset, one.model, one.seed, one.status) for one in found] == [
        ("digits", "ebm", 0, "not run"),
        ("folder:my/birds", "dcgan", 0, "not run"),
        ("folder:my/birds", "dcgan", 1, "not run"),
        ("folder:my/birds", "dcgan", 2, "not run"),
        ("folder:my/birds", "ebm", 2, "interrupted at update 300"),
        ("folder:my/birds", "vae", 1, "not run"),
        ("folder:my/birds", "vae", 2, "not run"),
    ]


def test_a_complete_folder_misses_nothing(tmp_path):
    fabricate.comparison(tmp_path)
    assert outcomes.absent(tmp_path, read_all(tmp_path)) == []


def test_tables_show_them_and_average_the_others(started):
    records = read_all(started)
    sections = split(records, outcomes.absent(started, records))
    (section,) = sections  # a data set without any record has no table, as nothing is known of it
    assert statuses(section) == {
        "dcgan": "3 not run",
        "ebm": "2 finished, 1 interrupted at update 300",
        "vae": "1 finished, 2 not run",
    }
    text = files.as_markdown(sections)
    assert "2 finished, 1 interrupted at update 300" in text
    assert next(line for line in text.splitlines() if line.startswith("| dcgan")).count("–") == 4
    assert "No record, and in no average: dcgan, seed 0: not run." in text
    assert "dcgan" in files.as_latex(sections)
    table, cells, *_ = files.write(started, sections)
    with open(table, newline="", encoding="utf-8") as file:
        rows = {line["model"]: line for line in csv.DictReader(file) if line["kind"] == "model"}
    assert (rows["dcgan"]["seeds finished"], rows["dcgan"]["seeds without a record"]) == ("0", "3")
    assert (rows["dcgan"]["KID(efficientnet-lite0) n"], rows["dcgan"]["parameters"]) == ("0", "")
    assert rows["ebm"]["KID(efficientnet-lite0) n"] == "2"
    with open(cells, newline="", encoding="utf-8") as file:
        lines = [(line["model"], line["training seed"], line["status"]) for line in csv.DictReader(file)]
    assert lines == [
        *(("dcgan", str(seed), "not run") for seed in range(3)),
        *(("ebm", "0", "finished"), ("ebm", "1", "finished"), ("ebm", "2", "interrupted at update 300")),
        *(("vae", "0", "finished"), ("vae", "1", "not run"), ("vae", "2", "not run")),
    ]


def test_missing_cells_stand_with_their_model_in_one_section_only():
    cells = (Absent("digits", "ebm", 2, "not run"), Absent("digits", "vae", 0, "not run"))
    first, second = sections_of(fabricate.record(seed=0), fabricate.record(seed=1, n_generated=5000), absent=cells)
    assert statuses(first) == {"ebm": "1 finished, 1 not run", "vae": "1 not run"}
    assert statuses(second) == {"ebm": "1 finished"}
