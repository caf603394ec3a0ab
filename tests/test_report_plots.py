"""The report's plots, which must exist, show what the cells hold and survive what is missing, and its command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench import report
from bench.report.content.sections import Section
from bench.report.plots import bars, style, tiles
from bench.report.plots import curves as sweeps
from bench.results.record import SCHEMA, Record, write_record
from tests import fabricate
from tests.fabricate import section_of

PLOTS = [
    "chain.png",
    "curve_energy_by_step.png",
    "curve_gradient_norm.png",
    "curve_kid_by_chain_length.png",
    "curve_mse_by_decodes.png",
    "interpolations.png",
    "interpolations_reconstructed.png",
    "learning_curves.png",
    "nearest.png",
    "reconstructions.png",
    "samples.png",
    "scores.png",
    "scores_diagnostics.png",
    "scores_interpolation.png",
    "scores_reconstruction.png",
]
WITHOUT_PICTURES = ["chain.png", "samples.png"]  # whose only files are missing or damaged
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


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L")).astype(int)


def places_of(plot: np.ndarray, drawn: np.ndarray) -> list[tuple[int, int]]:
    """Where, as (top, left), a picture stands in a plot."""
    high, wide = drawn.shape
    windows = np.lib.stride_tricks.sliding_window_view(plot, drawn.shape)
    step = max(1, min(high, wide) // 6)
    found = np.abs(windows[:, :, ::step, ::step] - drawn[::step, ::step].astype(int)).max(axis=(2, 3)) <= 1
    return [(int(top), int(left)) for top, left in np.argwhere(found)]


def test_samples_show_the_sheets_pixels_enlarged(results):
    plot = pixels_of(results / "plots/digits/samples.png")[:260]  # the first row of tiles is near the top
    sheet = np.asarray(Image.open(results / "cells/digits/ebm/seed-0/samples.png"))
    drawn = tiles.mosaic([[sheet[:8, :8]]])
    assert drawn.shape == (56, 56)
    assert len(places_of(plot, drawn)) >= 3  # once per model


def test_pairs_stand_one_above_the_other(results):
    plot = pixels_of(results / "plots/digits/nearest.png")[:260]  # the first model
    sheet = np.asarray(Image.open(results / "cells/digits/dcgan/seed-0/nearest.png"))
    pair = [tiles.mosaic([[sheet[8:16, 8 * k : 8 * k + 8]]]) for k in (2, 3)]  # the sixth pair: second row, second pair
    ((top, left),) = places_of(plot, pair[0])
    assert places_of(plot, pair[1]) == [(top + 56 + tiles.GAP, left)]
    others = [places_of(plot, tiles.mosaic([[sheet[8:16, 8 * k : 8 * k + 8]]]))[0] for k in (0, 4)]
    assert others == [(top, left - 59), (top, left + 59)]  # its neighbours are the fifth and the seventh pair


def test_a_path_of_large_images_keeps_its_ends():
    path = [np.full((128, 128), value, dtype=np.uint8) for value in range(9)]
    kept = tiles.crop([path], most_rows=4, most_pixels=640, ends=True)[0]
    assert [int(tile[0, 0]) for tile in kept] == [0, 3, 5, 8]
    assert [int(tile[0, 0]) for tile in tiles.crop([path], most_rows=4, most_pixels=640)[0]] == [0, 1, 2, 3]
    small = [np.full((8, 8), value, dtype=np.uint8) for value in range(9)]
    assert len(tiles.crop([small], most_rows=4, most_pixels=640, ends=True)[0]) == 9


def test_a_sheet_is_taken_apart_in_reading_order(tmp_path):
    sheet = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3).repeat(4, axis=0).repeat(4, axis=1)
    Image.fromarray(sheet).save(tmp_path / "samples.png")
    record = Record(tmp_path / "record.json", {"images": {"samples": {"file": "samples.png", "rows": 2, "columns": 3}}})
    read = tiles.read(record, "samples")
    assert [[int(tile[0, 0]) for tile in row] for row in read] == [[0, 1, 2], [3, 4, 5]]
    assert all(tile.shape == (4, 4) and len(np.unique(tile)) == 1 for row in read for tile in row)


def test_long_chains_are_drawn_where_a_record_has_them(tmp_path):
    data = fabricate.record("digits", "ebm", 0)
    labels = ["0", "20", "200", "2000"]
    data["images"]["long-chain"] = {"file": "long-chain.png", "rows": 6, "columns": 4, "labels": labels}
    folder = fabricate.cell(tmp_path, data)
    fabricate.cell(tmp_path, fabricate.record("digits", "vae", 0))
    assert "long_chain.png" in {path.name for path in report.build(tmp_path)}
    plot = pixels_of(tmp_path / "plots/digits/long_chain.png")
    sheet = np.asarray(Image.open(folder / "long-chain.png"))
    drawn = [tiles.mosaic([[sheet[8:16, 8 * k : 8 * k + 8]]]) for k in range(4)]
    tops, lefts = zip(*(places_of(plot, one)[0] for one in drawn), strict=True)
    assert len(set(tops)) == 1  # one chain is one row
    assert np.diff(lefts).tolist() == [59, 59, 59]


def test_missing_and_damaged_files_stop_nothing(tmp_path):
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0), pictures=False)
    damaged = fabricate.cell(tmp_path, fabricate.record("digits", "vae", 0))
    (damaged / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    (damaged / "log.csv").write_bytes(b"\xff\xfe,,\n1,2,3,4,5\n")
    bare = fabricate.record("digits", "dcgan", 0) | {"images": {}, "throughput": None}
    (fabricate.cell(tmp_path, bare) / "log.csv").unlink()
    written = report.build(tmp_path)
    drawn = sorted(path.name for path in written if path.suffix == ".png")
    assert drawn == [name for name in PLOTS if name not in WITHOUT_PICTURES]


def test_a_folder_of_diverged_runs_says_so(tmp_path):
    fabricate.cell(tmp_path, fabricate.record("digits", "ebm", 0, diverged_at=7))
    fabricate.cell(tmp_path, fabricate.record("digits", "vae", 0, diverged_at=9))
    written = report.build(tmp_path)
    assert not [path for path in written if path.suffix == ".png"]  # neither a score nor a picture nor a log
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "1 diverged at update 7" in text
    assert "there are no scores" in text


def test_files_of_others_are_left_alone(tmp_path):
    fabricate.cell(tmp_path, fabricate.record(diverged_at=5), pictures=False)
    mine = tmp_path / "plots/digits/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report.build(tmp_path)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not list(tmp_path.rglob("*.tmp"))


# --- what bars and curves are made of ---


def extent_of(section: Section, name: str) -> tuple[bool, float, float]:
    metric = next(metric for metric in section.metrics if metric["name"] == name)
    return bars.extent(section, metric, list(section.rows))


def test_a_whisker_is_the_interval_over_seeds_or_over_images():
    several = section_of(*(fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])))
    (row,) = several.rows
    assert (row.score("KID").mean, row.values("KID")) == (pytest.approx(0.013), [0.010, 0.012, 0.017])
    low, high = row.score("KID").interval
    half = pytest.approx(4.302653 * (13e-6 / 3) ** 0.5, rel=1e-5)
    assert (high - 0.013, 0.013 - low) == (half, half)
    (row,) = section_of(fabricate.record(kid=0.01)).rows
    assert row.score("KID").interval == pytest.approx([0.009, 0.011])
    (drawn,) = whiskers_of(section_of(fabricate.record(kid=0.01)), "KID")
    assert drawn == pytest.approx([0.009, 0.011])


def whiskers_of(section: Section, name: str) -> list[list[float]]:
    """The ends of the lines without a marker, one for each model."""
    metric = next(metric for metric in section.metrics if metric["name"] == name)
    axes = Figure().add_subplot()
    bars.draw(axes, section, metric, list(section.rows), style.Looks(row.label for row in section.rows))
    lines = [line for line in axes.get_lines() if line.get_color() == style.INK]
    return [[float(x) for x in line.get_xdata()] for line in lines]


def test_a_far_ceiling_makes_an_axis_logarithmic_only_where_lower_is_better():
    section = section_of(fabricate.record())
    assert [extent_of(section, name)[0] for name in ("KID", "FD", "precision", "MSE", "memorization")] == [
        *(True, True, False, False, False)
    ]
    near = fabricate.record(kid=0.3)
    assert not extent_of(section_of(near), "KID")[0]  # noise is at 0.4
    below = fabricate.record(kid=-0.001)
    assert not extent_of(section_of(below), "KID")[0]  # an unbiased estimate may be negative


@pytest.mark.parametrize("kid", [0.01, 0.3, -0.001])
def test_every_seed_is_inside_the_panel(kid):
    section = section_of(fabricate.record(kid=kid), fabricate.record(model="vae", kid=2 * kid))
    log, low, high = extent_of(section, "KID")
    assert all(low < dot < high for row in section.rows for dot in row.values("KID"))
    assert low > 0 or not log


def test_a_band_that_reaches_zero_ends_at_a_tenth_of_its_mean_on_a_logarithmic_axis():
    line = sweeps.MeanLine("ebm", [1.0, 2.0], np.array([1.0, 0.01]), np.array([0.2, 0.05]))
    low, high = line.ends(log=True)
    assert low == pytest.approx([0.8, 0.001])
    assert high == pytest.approx([1.2, 0.06])
    assert line.ends(log=False)[0] == pytest.approx([0.8, -0.04])


def test_a_curve_is_the_mean_over_seeds_with_its_interval():
    section = section_of(*(fabricate.record(seed=seed, kid=kid) for seed, kid in enumerate([0.010, 0.012, 0.017])))
    (line,) = sweeps._lines(section.rows[0], "KID by chain length")
    at = line.x.index(20)
    assert line.mean[at] == pytest.approx(0.013)
    assert line.half[at] == pytest.approx(4.302653 * (13e-6 / 3) ** 0.5, rel=1e-5)
    assert line.mark == 20


def test_seeds_with_other_points_get_lines_of_their_own():
    first, second = fabricate.record(seed=0), fabricate.record(seed=1)
    curve = second["curves"][1]
    curve["x"], curve["y"] = curve["x"][:-1][::-1], curve["y"][:-1][::-1]
    lines = sweeps._lines(section_of(first, second).rows[0], "KID by chain length")
    assert [len(line.x) for line in lines] == [7, 6]
    assert all(line.x == sorted(line.x) and line.half is None for line in lines)


def test_a_model_without_the_curve_is_not_in_its_plot():
    section = section_of(fabricate.record(), fabricate.record(model="vae"))
    assert sweeps._lines(section.rows[1], "KID by chain length") == []
    assert sweeps.file_name("FD by chain length (K)") == "curve_fd_by_chain_length_k.png"


# --- the command ---


def test_the_command_needs_no_torch_prints_what_it_wrote_and_writes_the_same_bytes(results, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(results / "cells", copy / "cells")
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
    assert len(paths) == 5 + 2 * len(PLOTS)  # three tables, the cells, the page
    for path in map(Path, paths):
        assert path.read_bytes() == (results / path.relative_to(copy)).read_bytes(), path.name


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
    write_record(other / "record.json", {"schema": SCHEMA, "dataset": "digits"})
    for arguments, named in [
        ([str(tmp_path / "nowhere")], "no results folder"),
        ([str(empty)], "no records under"),
        ([str(damaged)], f"{other / 'record.json'}: field model is missing; restore the file, or move the folder"),
    ]:
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert named in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in damaged.iterdir()) == ["cells"]  # nothing is written beside a damaged record
    assert run().returncode == 2
