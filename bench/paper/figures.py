"""The paper's figures, from records and the cells' pictures alone: OUT/figures/<dataset>/*.png. No torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.paper import toy
from bench.paper.plan import FIGURES, MAIN, MODEL
from bench.report.content.sections import Row, Section, split
from bench.report.page.figures import CaptionedPicture
from bench.report.plots import curves, sheets, style

WORDS = tomllib.loads((Path(__file__).parent / "figures.toml").read_text(encoding="utf-8"))


def write(out: Path, sections: Mapping[str, Sequence[Section]], by_steps: Sequence[str] = ()) -> list[CaptionedPicture]:
    """Every figure that the records allow: of `MAIN`'s cells, of the points `by_steps` of Table 2, and of the toy.

    `sections` holds the sections of each setting, that is of each folder under `out`. The same records give the same
    bytes. A figure whose pictures or curves no record has is left out. Raises UserError for damaged files of the toy.
    """
    drawings: list[CaptionedPicture] = []
    with style.style():
        for section in sections.get(MAIN, ()):
            drawings += _of_cells(out, section)
        drawings += _by_steps(out, sections, by_steps)
    return drawings + toy.draw(out)


def _of_cells(out: Path, section: Section) -> list[CaptionedPicture]:
    """Figures of one section's cells: samples, chains, paths, reconstructions, diagnostics of the chain."""
    if not any(row.finished for row in section.rows):
        return []
    folder, looks = _folder(out, section), style.Looks(row.label for row in section.rows)
    drawings = []
    for name, words in WORDS.items():
        path, caption = folder / f"{name}.png", words["caption"]
        if "figure" in words:
            heading = f"{section.title}: {words['heading']}"
            drawn = curves.together(section, words["figure"], path, looks, heading)
        elif name in sheets.SHEETS:
            drawn = sheets.sheet(section, path, name)
        else:
            drawn = sheets.reconstructions(section, path)
        caption += f" {_scale(section)}" if name == "samples" else ""
        drawings += [CaptionedPicture(path, f"{section.title}: {words['title']}", caption) for path in drawn]
    return drawings


def _by_steps(out: Path, sections: Mapping[str, Sequence[Section]], settings: Iterable[str]) -> list[CaptionedPicture]:
    """Gradient norm along the chain for each K of Table 2, a figure for each data set and protocol."""
    chosen = [section for setting in settings for section in sections.get(setting, ())]
    drawings = []
    for section in split([record for part in chosen for record in part.records if record.model == MODEL]):
        rows = _by_length(section)
        path, looks = _folder(out, section) / "gradient-norm-by-K.png", style.Looks(row.label for row in rows)
        title = f"{section.title}: gradient norm along the chain, for each K"
        caption = (
            "Mean ||dE/dx|| over chains. With fewer steps to go, each has to be longer; sigma differs between the "
            f"points as well, as in the paper's Table 2. {_scale(section)}"
        )
        drawn = curves.together(replace(section, rows=rows), "gradient-norm", path, looks, title)
        drawings += [CaptionedPicture(each, title, caption) for each in drawn]
    return drawings


def _by_length(section: Section) -> tuple[Row, ...]:
    """The section's finished rows by K, labelled by K and sigma, and by the full label if these are not unique."""
    rows = sorted((row for row in section.rows if row.finished), key=_steps)
    labels = []
    for row in rows:
        sigma = row.finished[0].data["config"]["model"].get("sigma")
        labels.append(f"K = {_steps(row)}" + ("" if sigma is None else f", sigma {sigma:g}"))
    return tuple(
        replace(row, label=label if labels.count(label) == 1 else f"{label}: {row.label}")
        for row, label in zip(rows, labels, strict=True)
    )


def _steps(row: Row) -> int:
    return row.finished[0].data["network_evaluations_per_sample"]


def _folder(out: Path, section: Section) -> Path:
    return out / FIGURES / section.folder.removeprefix("plots/")


def _scale(section: Section) -> str:
    """What a reader must know before comparing a figure with the paper's."""
    data = section.records[0].data["data"]
    channels, height, width = data["image_shape"]
    steps = {record.data["network_evaluations_per_sample"] for record in section.records} - {1}
    chain = f", K = {', '.join(map(str, sorted(steps)))}" if steps else ""
    return (
        f"Here: {section.dataset}, {height} x {width}, {'colour' if channels == 3 else 'grey'}, "
        f"{data['train']:,} training images{chain}; the paper: CIFAR-10, CelebA and LSUN, 40,000 images, K = 100."
    )
