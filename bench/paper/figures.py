"""The paper's figures, from records and the cells' pictures alone: OUT/figures/<dataset>/*.png. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bench.report.plots  # noqa: F401 - before matplotlib, which it imports under any MPLBACKEND

# isort: split
from matplotlib.figure import Figure

from bench.paper import toy
from bench.paper.plan import MAIN, MODEL
from bench.report.content.sections import Row, Section, split
from bench.report.plots import curves as sweeps
from bench.report.plots import sheets as pictures
from bench.report.plots import style
from bench.results.layout import folder_name

FOLDER = "figures"


@dataclass(frozen=True)
class Drawing:
    path: Path
    title: str
    caption: str  # one paragraph of plain text


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
    return drawings + toy_triptych(out)


def _of_cells(out: Path, section: Section) -> list[Drawing]:
    """What one section's cells look like: samples, chains, paths, reconstructions, the chain's inner life."""
    if not any(row.finished for row in section.rows):
        return []
    folder = out / FOLDER / _folder(section)
    looks = style.Looks(row.label for row in section.rows)
    drawings = []

    def add(name: str, title: str, caption: str, draw: Callable[[Section, Path], Path | list[Path]]) -> None:
        drawn = draw(section, folder / f"{name}.png")
        paths = drawn if isinstance(drawn, list) else [drawn]
        drawings.extend(Drawing(path, f"{section.title}: {title}", caption) for path in paths)

    def curves(title: str, figure: str) -> Callable[[Section, Path], list[Path]]:
        return lambda section, path: sweeps.together(section, figure, path, looks, f"{section.title}: {title}")

    add("samples", "synthesis", f"Samples of each model, as they came. {_scale(section)}", pictures.samples)
    add(
        "chain",
        "from noise to image",
        "Each row is one sample along the short-run chain, from uniform noise to its last step; "
        "numbers count Langevin steps.",
        pictures.chain,
    )
    add(
        "interpolations",
        "interpolation",
        "Each row decodes a path between two latents that stays on the prior; the ratio compares the path's length in "
        "pixels with the straight line between its ends.",
        pictures.interpolations,
    )
    add(
        "interpolations-reconstructed",
        "interpolation between real images",
        "The same between the latents of two held-out images.",
        pictures.interpolations_reconstructed,
    )
    add(
        "reconstructions",
        "reconstruction",
        "Held-out images above what each model makes of them: the VAE by its encoder, DCGAN and the short-run model by "
        "latent inversion. The short-run model's latent has as many dimensions as the image, DCGAN's has 100 and the "
        "VAE's 128 or fewer: the errors do not compare as if all compressed alike.",
        pictures.reconstructions,
    )
    add(
        "long-chain",
        "chains beyond K",
        "The same chains after K, 10 K and 100 K steps: the energy was learned for K steps from noise, and nothing "
        "holds its samples in place afterwards.",
        pictures.long_chain,
    )
    add(
        "long-chain-curves",
        "energy and gradient norm beyond K",
        "Means over chains that run on past K (dotted), on a logarithmic axis: those that had converged would be flat.",
        curves("the chain run past its K steps", "long-chain"),
    )
    add(
        "residual-view",
        "the chain as a residual network",
        "x_k = x_{k-1} - step size x dE/dx + noise, layer by layer: how far a layer moves the image, whether it moves "
        "it the way the whole chain goes (cosine 1) or across it (0), and how much of the path's squared length is "
        "noise.",
        curves("the chain as a K-layer residual network", "residual-view"),
    )
    return drawings


def _by_steps(out: Path, sections: Mapping[str, Sequence[Section]], settings: Iterable[str]) -> list[Drawing]:
    """Gradient norm along the chain for each K of Table 2, a figure for each data set and protocol."""
    chosen = [section for setting in settings for section in sections.get(setting, ())]
    drawings = []
    for section in split([record for part in chosen for record in part.records if record.model == MODEL]):
        rows = _by_length(section)
        looks = style.Looks(row.label for row in rows)
        path = out / FOLDER / _folder(section) / "gradient-norm-by-K.png"
        title = f"{section.title}: gradient norm along the chain, for each K"
        caption = (
            "Mean ||dE/dx|| over chains. With fewer steps to go, each has to be longer; sigma differs between the "
            f"points as well, as in the paper's Table 2. {_scale(section)}"
        )
        drawn = sweeps.together(replace(section, rows=rows), "gradient-norm", path, looks, title)
        drawings += [Drawing(each, title, caption) for each in drawn]
    return drawings


def _by_length(section: Section) -> tuple[Row, ...]:
    """The section's finished rows by K, labelled by it and by sigma, and by all that differs where that is not all."""
    rows = [row for row in section.rows if row.finished]
    labels = [_length(row) for row in rows]
    named = [
        replace(row, label=label if labels.count(label) == 1 else f"{label}: {row.label}")
        for row, label in zip(rows, labels, strict=True)
    ]
    return tuple(sorted(named, key=lambda row: row.finished[0].data["network_evaluations_per_sample"]))


def _length(row: Row) -> str:
    settings = row.finished[0].data["config"]["model"]
    sigma = f", sigma {settings['sigma']:g}" if "sigma" in settings else ""
    return f"K = {row.finished[0].data['network_evaluations_per_sample']}{sigma}"


def toy_triptych(out: Path) -> list[Drawing]:
    """OUT/figures/toy.png: for each truth three densities on one scale of shades; nothing where there is no toy."""
    toys = toy.read(out)
    if not toys:
        return []
    titles = {"truth": "truth", "learned": "learned, exp(-E) / Z", "short_run": "short-run chains"}
    path = Path(out) / FOLDER / "toy.png"
    with style.style():
        figure = Figure(figsize=(8.4, 2.95 * len(toys)), layout="constrained")
        for axes_row, one in zip(figure.subplots(len(toys), 3, squeeze=False), toys, strict=True):
            top = float(one.masses["truth"].max())  # one scale a row, so that shades compare
            for axes, part in zip(axes_row, titles, strict=True):
                shades = {"cmap": "magma", "vmin": 0.0, "vmax": top}
                axes.imshow(one.masses[part], origin="lower", extent=(-1, 1, -1, 1), **shades)
                axes.grid(visible=False)
                axes.set_xticks([-1, 0, 1])
                axes.set_yticks([-1, 0, 1])
                distance = "" if part == "truth" else f"\ntotal variation {one.total_variation[part]:.3f}"
                axes.set_title(titles[part] + (distance or f"\n{one.title}"))
        style.save(figure, path)
    return [Drawing(path, "Two dimensions, where the truth is known", _toy_caption(toys))]


def _toy_caption(toys: Sequence[toy.Toy]) -> str:
    settings = toys[0].settings
    floors = ", ".join(
        f"{one.title} {one.total_variation['sampling']:.3f} and {one.total_variation['untrained']:.3f}" for one in toys
    )
    return (
        f"A small energy net learned by the same short-run algorithm, K = {settings['steps']} from uniform noise, "
        f"{settings['updates']:,} updates. Total variation from the truth on a grid of {settings['bins']} x "
        f"{settings['bins']}, {settings['ends']:,} chain ends, all densities smoothed alike ({settings['smooth']:g} "
        f"squares); as many draws of the truth itself, and chains of an untrained net, have: {floors}."
    )


def _folder(section: Section) -> str:
    base = folder_name(section.dataset)
    return base if section.number == 1 else f"{base}/protocol-{section.number}"


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
