"""Short-run learning in the plane, kept as files that need no torch to draw.

OUT/toy/toy.json holds the settings and the total variations, OUT/toy/<name>.f32 the densities (float32). The trainer,
`ebm/toy.py`, is named by a string, as the registry names models.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract import plugins
from bench.errors import UserError, one_line
from bench.paper.plan import FIGURES
from bench.report.page.page import Chapter
from bench.report.plots import style
from bench.results.layout import folder_name
from bench.results.record import record_bytes, write_record
from bench.storage.files import TooLargeError, read_bounded, write_bytes

FOLDER = "toy"
INDEX = "toy.json"
PARTS = {"truth": "truth", "learned": "learned, exp(-E) / Z", "short_run": "short-run chains"}  # of an array, in order
_TRAINER = "ebm.toy"
_TYPE = np.dtype("<f4")
_SCHEMA = 1
_LARGEST = 2**24  # bytes; a larger file is not read
_MOST_BINS = 1024  # squares along a side of the grid


@dataclass(frozen=True)
class Toy:
    """One truth and its densities: mass per square on [-1, 1]^2, float32 (bins, bins), rows from the bottom up."""

    name: str  # mixture or rings
    title: str
    masses: dict[str, NDArray[np.float32]]  # truth; learned: exp(-E) / Z; short_run: chain ends
    total_variation: dict[str, float]  # from the truth, 0 to 1, for short_run, learned, untrained chains, sampling
    settings: dict[str, Any]
    seed: int


def run(out: Path, *, seed: int = 0, progress: bool = True, **settings: Any) -> Path:
    """Train on both truths, unless OUT/toy holds a result with the same settings; return the path of OUT/toy/toy.json.

    `settings` are fields of `ebm.toy.ToySettings`, each with a default.
    """
    from tqdm import tqdm  # imported here, like the trainer: reading and drawing need neither

    trainer = plugins.module(_TRAINER, f"the toy ({_TRAINER})")
    settings = trainer.ToySettings(**settings)
    index = Path(out) / FOLDER / INDEX
    with contextlib.suppress(UserError):  # a damaged result is replaced
        found = read(out)
        if found and all(one.settings == asdict(settings) and one.seed == seed for one in found):
            return index
    entries = {}
    for name, make in trainer.TRUTHS.items():
        truth = make()
        title = f"toy, {truth.name}"
        with tqdm(total=settings.updates, desc=title, disable=not progress, leave=False) as bar:
            energy = trainer.learn(truth, settings, seed, lambda _, bar=bar: bar.update())
        found = trainer.triptych(truth, energy, settings, seed)
        content = np.stack([getattr(found, part).numpy() for part in PARTS]).astype(_TYPE).tobytes()
        write_bytes(index.with_name(f"{name}.f32"), content)
        entries[name] = {
            "title": truth.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "total_variation": found.total_variation,
        }
    write_record(index, {"schema": _SCHEMA, "seed": seed, "settings": asdict(settings), "truths": entries})
    return index


def read(out: Path) -> list[Toy]:
    """What `run` wrote; empty if there is nothing. UserError for a file that is damaged or missing."""
    index = Path(out) / FOLDER / INDEX
    if not index.is_file():
        return []
    stated = parse(_content(index), index)
    found = []
    for name, entry in stated["truths"].items():
        masses = _masses(index.with_name(f"{name}.f32"), entry["sha256"], stated["settings"]["bins"])
        found.append(Toy(name, entry["title"], masses, entry["total_variation"], stated["settings"], stated["seed"]))
    return found


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The index in the file `content`; `path` is for messages. UserError for anything but what was written."""
    try:
        stated = json.loads(content)
        bins, seed, truths = stated["settings"]["bins"], stated["seed"], stated["truths"]
        values = [value for entry in truths.values() for value in entry["total_variation"].values()]
        texts = [entry[name] for entry in truths.values() for name in ("title", "sha256")]
        checks = {
            "its checksum does not fit": record_bytes(stated) == content and stated["schema"] == _SCHEMA,
            "a setting is out of range": type(seed) is type(bins) is int and 0 < bins <= _MOST_BINS,
            "it names files elsewhere": all(folder_name(name) == name for name in truths),
            "an entry is not what was written": all(isinstance(text, str) for text in texts)
            and all(type(value) in (int, float) and 0 <= value <= 1 for value in values),
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, one_line(error)) from None
    if wrong := next((what for what, good in checks.items() if not good), ""):
        raise _damaged(path, wrong)
    return stated


def draw(out: Path) -> list[Chapter]:
    """Draw OUT/figures/toy.png: three densities per truth, with shades on one scale; nothing if there is no toy."""
    toys = read(out)
    if not toys:
        return []
    with style.style():
        title = "Two dimensions, where the truth is known"
        figure, panels = style.panels(title, 3 * len(toys), 3, (2.8, 2.95), left=0.4, right=0.2, above=0.5, below=0.25)
        for axes, (one, part) in zip(panels, product(toys, PARTS), strict=True):
            top = float(one.masses["truth"].max())  # one scale for each truth
            axes.imshow(one.masses[part], origin="lower", extent=(-1, 1, -1, 1), cmap="magma", vmin=0.0, vmax=top)
            axes.grid(visible=False)
            axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
            below = one.title if part == "truth" else f"total variation {one.total_variation[part]:.3f}"
            axes.set_title(f"{PARTS[part]}\n{below}")
        path = style.save(figure, Path(out) / FIGURES / "toy.png")
    return [Chapter(title, _caption(toys), pictures=(path,))]


def _caption(toys: Sequence[Toy]) -> str:
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


def _masses(path: Path, digest: str, bins: int) -> dict[str, NDArray[np.float32]]:
    content = _content(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(path, "its checksum does not fit")
    if len(content) != len(PARTS) * bins * bins * _TYPE.itemsize:
        raise _damaged(path, "it does not have the size of its arrays")
    return dict(zip(PARTS, np.frombuffer(content, _TYPE).reshape(len(PARTS), bins, bins), strict=True))


def _content(path: Path) -> bytes:
    try:
        return read_bounded(path, _LARGEST)
    except (TooLargeError, OSError) as error:
        raise _damaged(path, str(getattr(error, "strerror", None) or error)) from None


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"cannot use {path} ({what}): restore it, or move the folder {path.parent} away and run again")
