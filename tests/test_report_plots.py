"""The report's plots, which must exist, show what the cells hold and survive what is missing, and its command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import report
from bench.records import Record, write_json
from bench.report import tiles
from tests import fabricate

PLOTS = [
    "chain.png",
    "interpolations.png",
    "learning_curves.png",
    "reconstructions.png",
    "samples.png",
    "score_against_seconds.png",
    "scores.png",
]
REPOSITORY = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    root = fabricate.comparison(tmp_path_factory.mktemp("results"))
    report.build(root)
    return root


# --- plots ---


@pytest.mark.parametrize("folder", ["digits", "folder-my-birds-*"])
def test_every_plot_is_a_sensible_png(results, folder):
    (place,) = (results / "plots").glob(folder)
    assert sorted(path.name for path in place.iterdir()) == PLOTS
    for path in place.iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert 700 <= picture.width <= 3000, path.name
            assert 200 <= picture.height <= 3000, path.name
            pixels = np.asarray(picture.convert("L"))
        assert pixels.std() > 10, path.name  # something is drawn


def test_samples_show_the_sheets_pixels_enlarged(results):
    plot = np.asarray(Image.open(results / "plots/digits/samples.png").convert("L"))
    sheet = np.asarray(Image.open(results / "cells/digits/ebm/seed-0/samples.png"))
    drawn = tiles.mosaic([[sheet[:8, :8]]])
    assert drawn.shape == (56, 56)
    windows = np.lib.stride_tricks.sliding_window_view(plot, drawn.shape)[
        :200
    ]  # the first row of tiles is near the top
    found = (np.abs(windows[:, :, ::9, ::9].astype(int) - drawn[::9, ::9]).max(axis=(2, 3)) <= 1).sum()
    assert found >= 3  # once per model


def test_a_sheet_is_taken_apart_in_reading_order(tmp_path):
    sheet = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3).repeat(4, axis=0).repeat(4, axis=1)
    Image.fromarray(sheet).save(tmp_path / "samples.png")
    record = Record(tmp_path, {"images": {"samples": {"file": "samples.png", "rows": 2, "columns": 3}}})
    read = tiles.read(record, "samples")
    assert [[int(tile[0, 0]) for tile in row] for row in read] == [[0, 1, 2], [3, 4, 5]]
    assert all(tile.shape == (4, 4) and len(np.unique(tile)) == 1 for row in read for tile in row)


def test_missing_and_damaged_files_stop_nothing(tmp_path):
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0), pictures=False)
    damaged = fabricate.cell(tmp_path, fabricate.record("digits", "vae", 0))
    (damaged / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    (damaged / "log.csv").write_bytes(b"\xff\xfe,,\n1,2,3,4,5\n")
    bare = fabricate.record("digits", "dcgan", 0) | {"images": {}, "throughput": None}
    (fabricate.cell(tmp_path, bare) / "log.csv").unlink()
    written = report.build(tmp_path)
    assert sorted(path.name for path in written if path.suffix == ".png") == PLOTS


def test_a_folder_of_diverged_runs_says_so(tmp_path):
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0, diverged_at=7))
    fabricate.cell(tmp_path, fabricate.record("digits", "vae", 0, diverged_at=9))
    written = report.build(tmp_path)
    assert {path.name for path in written if path.suffix == ".png"} == set(PLOTS) - {"chain.png"}
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "1 diverged at update 7" in text
    assert "there are no scores" in text


# --- the command ---


def test_the_command_prints_what_it_wrote_and_needs_no_torch(results, tmp_path):
    copy = tmp_path / "results"
    (birds,) = (results / "cells").glob("folder-my-birds-*")
    shutil.copytree(birds, copy / "cells" / "birds")
    code = (
        "import sys; from bench.report.__main__ import main; status = main([sys.argv[1]]);"
        "print(sorted(name for name in ('torch', 'ebm', 'baselines', 'bench.data') if name in sys.modules));"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *paths, modules = done.stdout.splitlines()
    assert modules == "[]"
    assert len(paths) == 4 + len(PLOTS)
    assert all(Path(path).is_file() for path in paths)


def test_help_answers():
    done = run("--help")
    assert done.returncode == 0
    assert "RESULTS" in done.stdout


def test_bad_input_is_one_line_and_status_2(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    damaged = tmp_path / "damaged"
    fabricate.cell(damaged, fabricate.record(), pictures=False)
    other = fabricate.cell(damaged, fabricate.record(seed=1), pictures=False)
    write_json(other / "record.json", {"schema": 1, **{"dataset": "digits"}})
    for arguments, named in [
        ([str(tmp_path / "nowhere")], "no results folder"),
        ([str(empty)], "no records under"),
        ([str(damaged)], f"{other / 'record.json'}: field model is missing; delete the folder"),
    ]:
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert named in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in damaged.iterdir()) == ["cells"]  # nothing is written beside a damaged record
    assert run().returncode == 2
