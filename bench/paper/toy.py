"""Short-run learning in the plane, kept as files that need no torch to draw.

OUT/toy/toy.json holds the settings, the total variations and the densities (float32, in base64). The trainer,
`ebm/toy.py`, is named by a string, as the registry names models.
"""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract import plugins
from bench.errors import UserError, one_line
from bench.paper.plan import FIGURES
from bench.report.content.sentences import written
from bench.report.page.page import Chapter
from bench.report.plots import style
from bench.results.record import record_bytes, write_record
from bench.storage.files import TooLargeError, read_bounded

FOLDER = "toy"
INDEX = "toy.json"
PARTS = {"truth": "truth", "learned": "learned, exp(-E) / Z", "short_run": "short-run chains"}  # of an array, in order
_TRAINER = "ebm.toy"
_TYPE = np.dtype("<f4")
_SCHEMA = 2
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
        masses = base64.b64encode(content).decode()
        entries[name] = {"title": truth.name, "total_variation": found.total_variation, "masses": masses}
    write_record(index, {"schema": _SCHEMA, "seed": seed, "settings": asdict(settings), "truths": entries})
    return index


def read(out: Path) -> list[Toy]:
    """What `run` wrote; empty if there is nothing. UserError for a file that is damaged."""
    index = Path(out) / FOLDER / INDEX
    if not index.is_file():
        return []
    try:
        return parse(read_bounded(index, _LARGEST), index)
    except (TooLargeError, OSError) as error:
        raise _damaged(index, str(getattr(error, "strerror", None) or error)) from None


def parse(content: bytes, path: Path) -> list[Toy]:
    """The truths in the file `content`; `path` is for messages. UserError for anything but what was written."""
    try:
        stated = json.loads(content)
        bins, seed, found = stated["settings"]["bins"], stated["seed"], []
        if record_bytes(stated) != content or stated["schema"] != _SCHEMA:
            raise _damaged(path, "its checksum does not fit")
        if not (type(seed) is type(bins) is int and 0 < bins <= _MOST_BINS):
            raise _damaged(path, "a setting is out of range")
        for name, entry in stated["truths"].items():
            title, distances = entry["title"], entry["total_variation"]
            good = all(type(value) in (int, float) and 0 <= value <= 1 for value in distances.values())
            if not (good and isinstance(title, str)):
                raise _damaged(path, "an entry is not what was written")
            flat = np.frombuffer(base64.b64decode(entry["masses"], validate=True), _TYPE)
            masses = dict(zip(PARTS, flat.reshape(len(PARTS), bins, bins), strict=True))
            found.append(Toy(name, title, masses, distances, stated["settings"], seed))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, one_line(error)) from None
    return found


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"cannot use {path} ({what}): restore it, or move the folder {path.parent} away and run again")


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
    (caption,) = written(Path(__file__).parent / "templates/toy.txt", toys=toys, settings=toys[0].settings)
    return [Chapter(title, caption, pictures=(path,))]
