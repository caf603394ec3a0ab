"""The paper's figures from fabricated records: which are drawn, from which cells, and what is missing stops nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.paper import figures
from bench.report.content.sections import Section, split
from bench.report.page.page import Chapter
from bench.report.plots import curves as sweeps
from bench.report.plots import style
from bench.results.cell_folder import read_all
from bench.results.record import Record
from tests import fabricate


def curve(
    name: str, x: list[int], y: list[float], mark: int | None = None, *, log_x: bool = False, **figures: str
) -> dict[str, Any]:
    figures = {key.replace("_", "-"): title for key, title in figures.items()}
    labels = {"name": name, "title": name, "group": "diagnostics", "x_label": "step", "y_label": name}
    return labels | {"x": x, "y": y, "log_x": log_x, "mark": mark, "figures": figures}


def ebm(seed: int = 0, steps: int = 20, **settings: Any) -> dict[str, Any]:
    """A record with the chain's diagnostics: norms that start at 100 / K and fall."""
    data = fabricate.record("digits", "ebm", seed, **settings)
    data["network_evaluations_per_sample"] = steps
    data["config"]["model"] |= {"steps": steps, "sigma": 1.2 / steps}
    norms = [100 / steps / (1 + k) for k in range(10 * steps)]
    layers, far = list(range(1, steps + 1)), [1, 10, 100, 100 * steps]
    both = {"gradient_norm": "beyond", "long_chain": "norm"}
    data["curves"] = [one for one in data["curves"] if one["name"] != "gradient norm by step"] + [
        curve("gradient norm by step", list(range(10 * steps)), norms, steps, gradient_norm="within"),
        curve("gradient norm over a long run", far, [100 / steps / k for k in far], steps, log_x=True, **both),
        curve("energy over a long run", far, [float(-k) for k in far], steps, log_x=True, long_chain="energy"),
        curve("displacement by layer", layers, [1 / k for k in layers], residual_view="displacement"),
        curve("cosine by layer", layers, [0.5 for _ in layers], residual_view="cosine"),
        curve("noise share by layer", layers, [0.01 * k for k in layers], residual_view="noise"),
    ]
    labels = ["0", str(steps), str(10 * steps), str(100 * steps)]
    data["images"]["long-chain"] = {"file": "long-chain.png", "rows": 6, "columns": 4, "labels": labels}
    return data


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A paper run: main with three models, one more K, and one K whose only cell diverged."""
    root = tmp_path_factory.mktemp("paper")
    for seed in (0, 1):
        fabricate.cell(root / "main", ebm(seed))
        fabricate.cell(root / "main", fabricate.record("digits", "vae", seed))
        fabricate.cell(root / "main", fabricate.record("digits", "dcgan", seed))
        fabricate.cell(root / "ebm.steps=10", ebm(seed, 10))
    fabricate.cell(root / "ebm.steps=5", fabricate.record("digits", "ebm", 0, diverged_at=9))
    return root


SETTINGS = ("ebm.steps=5", "ebm.steps=10", "main", "ebm.steps=40")  # the last was never run


def parts(root: Path) -> dict[str, list[Section]]:
    return {name: split(read_all(root / name)) for name in SETTINGS if (root / name).is_dir()}


@pytest.fixture(scope="module")
def drawn(out) -> list[Chapter]:
    return figures.write(out, parts(out), SETTINGS)


def test_the_figure_is_drawn_and_says_what_it_is(out, drawn):
    (one,) = drawn
    (path,) = one.pictures
    assert path == out / "figures/digits/gradient-norm-by-K.png"
    assert one.title.startswith("digits: ")
    assert len(one.text) > 40
    assert "\n" not in one.text
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert 500 <= picture.width <= 3000
        assert np.asarray(picture.convert("L")).std() > 10


def test_the_same_records_give_the_same_bytes(out, drawn):
    first = {path: path.read_bytes() for one in drawn for path in one.pictures}
    assert figures.write(out, parts(out), SETTINGS) == drawn
    assert first == {path: path.read_bytes() for path in first}


def test_gradient_norms_are_those_of_each_k_within_its_steps(out, monkeypatch):
    seen = {}

    def spy(section: Section, figure: str, path: Path, *_: Any) -> list[Path]:
        if path.stem == "gradient-norm-by-K":
            seen["rows"] = section.rows
            seen["figure"] = figure
        return [path]

    monkeypatch.setattr(sweeps, "together", spy)
    figures.write(out, parts(out), SETTINGS)
    assert [row.label for row in seen["rows"]] == ["K = 10, sigma 0.12", "K = 20, sigma 0.06"]
    assert seen["figure"] == "gradient-norm"
    (line,) = sweeps._lines(seen["rows"][0], "gradient norm by step")
    kept = sweeps._before_mark(line)
    assert (kept.x, kept.mark) == (list(range(10)), None)
    assert kept.mean[0] == pytest.approx(10)
    assert len(kept.half) == 10


def test_what_is_missing_stops_nothing(tmp_path):
    assert figures.write(tmp_path, {}, SETTINGS) == []
    fabricate.cell(tmp_path / "main", fabricate.record("digits", "ebm", 0, diverged_at=7))
    assert figures.write(tmp_path, parts(tmp_path), SETTINGS) == []
    # a record of before: without the long chain's curves, and its pictures are lost
    fabricate.cell(tmp_path / "main", fabricate.record("digits", "ebm", 1), pictures=False)
    (one,) = figures.write(tmp_path, parts(tmp_path), SETTINGS)
    assert [path.stem for path in one.pictures] == ["gradient-norm-by-K"]


def test_protocols_and_data_sets_stay_apart(tmp_path):
    for seed, n in enumerate((1000, 500)):
        fabricate.cell(tmp_path / "main", ebm(seed, n_generated=n))
    other = ebm(0)
    other["dataset"] = other["data"]["name"] = "folder:my/birds"
    fabricate.cell(tmp_path / "main", other)
    drawn = figures.write(tmp_path, parts(tmp_path), ["main"])
    folders = {str(path.parent.relative_to(tmp_path / "figures")) for one in drawn for path in one.pictures}
    assert len(folders) == len(drawn) == 3
    assert {"digits", "digits/protocol-2"} < folders


def test_curves_that_share_a_figure_stand_side_by_side(tmp_path):
    whole, part = ebm(), ebm()
    part["curves"] = [one for one in part["curves"] if one["name"] != "noise share by layer"]
    looks, widths = style.Looks(["ebm"]), []
    with style.style():
        for name, data in (("whole", whole), ("part", part)):
            (section,) = split([Record(tmp_path / "record.json", data)])
            assert sweeps.together(section, "no such figure", tmp_path / "a.png", looks, "title") == []
            (path,) = sweeps.together(section, "residual-view", tmp_path / f"{name}.png", looks, "title")
            widths.append(Image.open(path).width)
    assert widths[0] / widths[1] == pytest.approx(3 / 2, rel=0.01)


def test_the_report_draws_curves_of_one_figure_once(tmp_path):
    (section,) = split([Record(tmp_path / "record.json", ebm())])
    with style.style():
        drawn = {path.stem for path in sweeps.curves(section, tmp_path, style.Looks(["ebm"]))}
    assert {"curve_gradient_norm", "curve_long_chain", "curve_residual_view", "curve_kid_by_chain_length"} <= drawn
    assert not any("layer" in stem or "long_run" in stem or stem.endswith("gradient_norm_by_step") for stem in drawn)
