"""The paper's figures, from records and the cells' pictures alone: OUT/figures/<dataset>/*.png. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.paper import toy
from bench.paper.drawing import FOLDER, Drawing
from bench.paper.plan import MAIN, MODEL
from bench.report.content.sections import Row, Section, split
from bench.report.plots import curves, sheets, style

_SHEETS = {  # sheet of pictures -> title, caption
    "samples": ("synthesis", "Samples of each model, as they came."),
    "chain": (
        "from noise to image",
        "Each row is one sample along the short-run chain, from uniform noise to its last step; "
        "numbers count Langevin steps.",
    ),
    "interpolations": (
        "interpolation",
        "Each row decodes a path between two latents that stays on the prior; the ratio compares the path's length in "
        "pixels with the straight line between its ends.",
    ),
    "interpolations-reconstructed": (
        "interpolation between real images",
        "The same between the latents of two held-out images.",
    ),
    "reconstructions": (
        "reconstruction",
        "Held-out images above what each model makes of them: the VAE by its encoder, DCGAN and the short-run model by "
        "latent inversion. The short-run model's latent has as many dimensions as the image, DCGAN's has 100 and the "
        "VAE's 128 or fewer: the errors do not compare as if all compressed alike.",
    ),
    "long-chain": (
        "chains beyond K",
        "The same chains after K, 10 K and 100 K steps: the energy was learned for K steps from noise, and nothing "
        "holds its samples in place afterwards.",
    ),
}
_CURVES = {  # file -> title, heading, the curves' own figure, caption
    "long-chain-curves": (
        "energy and gradient norm beyond K",
        "the chain run past its K steps",
        "long-chain",
        "Means over chains that run on past K (dotted), on a logarithmic axis: those that had converged would be flat.",
    ),
    "residual-view": (
        "the chain as a residual network",
        "the chain as a K-layer residual network",
        "residual-view",
        "x_k = x_{k-1} - step size x dE/dx + noise, layer by layer: how far a layer moves the image, whether it moves "
        "it the way the whole chain goes (cosine 1) or across it (0), and how much of the path's squared length is "
        "noise.",
    ),
}


def write(out: Path, sections: Mapping[str, Sequence[Section]], by_steps: Sequence[str] = ()) -> list[Drawing]:
    """Every figure that the records allow; those of `MAIN`'s cells, of the points `by_steps` of Table 2, and the toy.

    `sections` are the parted records by setting, that is by folder under `out`. The same records give the same bytes.
    A record without the pictures or curves leaves its figure out. Raises UserError for damaged files of the toy.
    """
    drawings: list[Drawing] = []
    with style.style():
        for section in sections.get(MAIN, ()):
            drawings += _of_cells(out, section)
        drawings += _by_steps(out, sections, by_steps)
    return drawings + toy.draw(out)


def _of_cells(out: Path, section: Section) -> list[Drawing]:
    """What one section's cells look like: samples, chains, paths, reconstructions, the chain's inner life."""
    if not any(row.finished for row in section.rows):
        return []
    folder, looks = _folder(out, section), style.Looks(row.label for row in section.rows)
    drawings = []
    for name, (title, caption) in _SHEETS.items():
        path = folder / f"{name}.png"
        drawn = sheets.sheet(section, path, name) if name in sheets.SHEETS else sheets.reconstructions(section, path)
        words = f"{caption} {_scale(section)}" if name == "samples" else caption
        drawings += [Drawing(path, f"{section.title}: {title}", words) for path in drawn]
    for name, (title, heading, figure, caption) in _CURVES.items():
        drawn = curves.together(section, figure, folder / f"{name}.png", looks, f"{section.title}: {heading}")
        drawings += [Drawing(path, f"{section.title}: {title}", caption) for path in drawn]
    return drawings


def _by_steps(out: Path, sections: Mapping[str, Sequence[Section]], settings: Iterable[str]) -> list[Drawing]:
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
        drawings += [Drawing(each, title, caption) for each in drawn]
    return drawings


def _by_length(section: Section) -> tuple[Row, ...]:
    """The section's finished rows by K, labelled by it and by sigma, and by all that differs where that is not all."""
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
    return out / FOLDER / section.folder.removeprefix("plots/")


def _scale(section: Section) -> str:
    """What a reader must know before comparing with the paper's figure."""
    data = section.records[0].data["data"]
    channels, height, width = data["image_shape"]
    steps = {record.data["network_evaluations_per_sample"] for record in section.records} - {1}
    chain = f", K = {', '.join(map(str, sorted(steps)))}" if steps else ""
    return (
        f"Here: {section.dataset}, {height} x {width}, {'colour' if channels == 3 else 'grey'}, "
        f"{data['train']:,} training images{chain}; the paper: CIFAR-10, CelebA and LSUN, 40,000 images, K = 100."
    )
