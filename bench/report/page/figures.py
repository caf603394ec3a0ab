"""The plots as a page shows them: their order, their titles, and descriptions of what they show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.report.content.sections import Section
from bench.report.plots.curves import file_name

# Stem of the file -> title and description, in the order of the page. docs/results.md says more.
_KNOWN = {
    "samples": ("Samples", "Samples of each model's first finished training seed, not picked by eye."),
    "reconstructions": (
        "Reconstructions",
        "Held-out images in the first row, each model's reconstruction of them below.",
    ),
    "chain": (
        "From noise to image",
        "Each row is one sample on its way from noise to image; numbers count the steps of its sampler.",
    ),
    "long_chain": ("Long chains", "The same chains run on, far past the steps that they were trained for."),
    "interpolations": ("Interpolation between samples", "Each row walks from one sample to another."),
    "interpolations_reconstructed": (
        "Interpolation between real images",
        "Each row walks from one real image to another, as the model reconstructs them.",
    ),
    "nearest": (
        "Nearest training images",
        "Samples, each above the training image nearest to it in feature space: equal pairs may be copies.",
    ),
    "scores": (
        "Scores of the samples",
        "Bar: mean; whisker: 95 % interval; dot: one training seed; broken lines: references.",
    ),
    "scores_reconstruction": ("Reconstruction scores", "As above, for reconstructions at the budgets in the table."),
    "scores_interpolation": ("Interpolation scores", "As above, for paths between images."),
    "scores_diagnostics": ("Diagnostics", "As above, for what some models alone can say of themselves."),
    "learning_curves": ("Learning curves", "Each logged scalar against the update, a line style per training seed."),
    "score_against_seconds": ("Score against time", "The lead score against seconds of training and of sampling."),
}
_CURVE = (
    "A line per model, the mean over training seeds with its 95 % interval; dotted, the setting in use; "
    "broken, the same model untrained."
)
SAMPLES = "samples"


@dataclass(frozen=True)
class CaptionedPicture:
    """A file with a title and a caption of one paragraph; `alt` replaces it where it cannot be seen."""

    path: Path
    title: str
    caption: str
    alt: str = ""


def figures(section: Section, plots: Iterable[Path]) -> list[CaptionedPicture]:
    """The section's pictures among `plots`, those of images first. Files with unknown names are shown as well."""
    curves = {
        Path(file_name(curve["name"])).stem: (curve["title"], _CURVE)
        for record in section.records
        for curve in record.data["curves"]
    }
    *first, last = _KNOWN.items()  # curves and then files with unknown names come before the last
    known = dict(first) | curves
    order = {name: place for place, name in enumerate(known)} | {last[0]: len(known) + 1}
    known |= dict([last])
    own = [path for path in plots if path.parent.as_posix().endswith(section.folder)]
    found = []
    for path in sorted(own, key=lambda path: (order.get(path.stem, len(order) - 1), path.name)):
        title, text = known.get(path.stem, (words(path), ""))
        found.append(CaptionedPicture(path, title, text, f"Plot for {section.title}: {title}. {text}".strip()))
    return found


def words(path: Path) -> str:
    """`table-2_by-steps.png` -> `table 2 by steps`."""
    return " ".join(path.stem.replace("_", " ").replace("-", " ").split())
