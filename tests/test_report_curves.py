"""Curves side by side: which figure a curve belongs to, and where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.report.content.sections import split
from bench.report.plots import curves as sweeps
from bench.report.plots import style
from bench.results.record import Record
from tests import fabricate
from tests.fabricate import section_of


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


def test_a_curve_on_a_linear_axis_ends_at_the_setting_in_use():
    row = section_of(ebm(0, 10), ebm(1, 10)).rows[0]
    (line,) = sweeps._lines(row, "gradient norm by step")
    kept = sweeps._before_mark(line)
    assert (kept.x, kept.mark) == (list(range(10)), None)
    assert kept.mean[0] == pytest.approx(10)
    assert len(kept.half) == 10


def test_figures_of_curves_are_pictures_and_the_same_each_time(tmp_path):
    section, looks = section_of(ebm(0), ebm(1)), style.Looks(["ebm"])
    with style.style():
        drawn = sweeps.curves(section, tmp_path, looks)
        first = {path: path.read_bytes() for path in drawn}
        assert sweeps.curves(section, tmp_path, looks) == drawn
    assert first == {path: path.read_bytes() for path in first}
    for path in drawn:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert 500 <= picture.width <= 3000
            assert np.asarray(picture.convert("L")).std() > 10


def test_curves_that_share_a_figure_stand_side_by_side(tmp_path):
    whole, part = ebm(), ebm()
    part["curves"] = [one for one in part["curves"] if one["name"] != "noise share by layer"]
    looks, widths = style.Looks(["ebm"]), []
    with style.style():
        for name, data in (("whole", whole), ("part", part)):
            (section,) = split([Record(tmp_path / "record.json", data)])
            sweeps.curves(section, tmp_path / name, looks)
            widths.append(Image.open(tmp_path / name / "curve_residual_view.png").width)
    assert widths[0] / widths[1] == pytest.approx(3 / 2, rel=0.01)


def test_the_report_draws_curves_of_one_figure_once(tmp_path):
    (section,) = split([Record(tmp_path / "record.json", ebm())])
    with style.style():
        drawn = {path.stem for path in sweeps.curves(section, tmp_path, style.Looks(["ebm"]))}
    assert {"curve_gradient_norm", "curve_long_chain", "curve_residual_view", "curve_kid_by_chain_length"} <= drawn
    assert not any("layer" in stem or "long_run" in stem or stem.endswith("gradient_norm_by_step") for stem in drawn)
