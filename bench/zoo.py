"""`bench.zoo.load`: a trained model by the name of one that comes with a clone, from a folder, or from the hub.

model = zoo.load("digits/flow")  # `python -m bench.zoo` lists the names
images = model.sample(64, torch.Generator().manual_seed(0))

Only the standard library is needed to list them: the imports inside a function are those that bring torch.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.commandline import outcome
from bench.contract import plugins
from bench.errors import UserError
from bench.report.content.numerals import bracketed, number
from bench.report.tables import markdown
from bench.report.tables.model import Table
from bench.results.cell_folder import WEIGHTS, CellFolder
from bench.results.exported import CONFIG
from bench.results.shipped import choices, place, shipped

if TYPE_CHECKING:
    import torch

    from bench.contract.model import GenerativeModel

_REPO = re.compile(r"[\w.-]+/[\w.-]+")


def names() -> list[str]:
    """The models that come with this clone of the repository, as `load` takes them; none outside a clone."""
    return list(shipped())


def load(
    source: str | Path,
    device: torch.device | str = "cpu",
    *,
    revision: str | None = None,  # of a repository on the hub
    trust_code: bool = False,
) -> GenerativeModel:
    """The model called `DATASET/MODEL` in this clone, or that in a folder: of a finished cell, or from `bench.export`.

    What is neither a folder nor a name that comes with a clone is OWNER/NAME, a repository of the Hugging Face hub. An
    OWNER that is called as a data set of the suite is asked for only with `revision`, so that a slip in a name gets no
    stranger's model. Weights are checked against their hash, and nothing in a file is run. A model that is not the
    suite's or an installed package's is code of its author's (`package.module:factory`): it is imported only with
    `trust_code`, from where Python finds it.
    Raises UserError: no such folder or name, a damaged or unknown file, weights of another model, a hub that cannot be
    reached.
    """
    import torch

    from bench.scoring.stored import read_cell, read_export

    folder = _folder(source, revision)
    cell = (folder / WEIGHTS).is_file() and not (folder / CONFIG).exists()
    stored = read_cell(folder / WEIGHTS)[0] if cell else read_export(folder)
    if not trust_code:
        stored.check_trusted("give trust_code=True")
    return stored.load(stored.maker(torch.device(device))).eval()


def _folder(source: str | Path, revision: str | None) -> Path:
    from bench.data import DATASETS

    folder = place(source) if isinstance(source, str) and revision is None else Path(source)
    if folder.is_dir():
        return folder
    asked = isinstance(source, str) and _REPO.fullmatch(source)
    if not asked or (revision is None and source.partition("/")[0] in DATASETS):
        raise UserError(
            f"there is no folder {source}: give one that bench.export wrote, OWNER/NAME of the hub, or {choices()}"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        remedy = "pip install short-run-ebm-benchmark[hub], or get the folder by other means"
        raise UserError(f"{source} is no folder here, and huggingface_hub is not installed: {remedy}") from None
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the hub's client fails in many ways
        raise UserError(f"{source} cannot be had from the hub ({plugins.described(error)}): check the name") from error


def table() -> str:
    """The shipped models as Markdown: name, training seed, parameters, lead score; UserError where there are none."""
    cells = shipped()
    if not cells:
        raise UserError(
            f"no trained model is here: give bench.zoo.load a folder that bench.export wrote or {choices()}"
        )
    return markdown.render(Table.of_rows("Shipped models", HEADER, [_row(*one) for one in cells.items()]), 2)


HEADER = ("name", "training seed", "parameters", "lead score", "value", "trained and scored as")


def _row(name: str, cell: CellFolder) -> tuple[str, ...]:
    record = cell.read_record()
    lead = next((one for one in record.metrics if one["lead"]), None)
    score = (lead["label"], bracketed(lead["value"], lead["interval"])) if lead else ("", "")
    return (name, str(record.seed), number(record.data["parameters"]), *score, record.data["profile"])


def parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m bench.zoo",
        description="List the trained models that come with a clone: bench.zoo.load(NAME) in Python, and "
        "python -m bench.evaluate NAME (docs/sharing.md).",
    )


def main(argv: Sequence[str] | None = None) -> int:
    def action() -> int:
        parser().parse_args(argv)
        print(table())
        return 0

    return outcome("bench.zoo", action)


if __name__ == "__main__":
    sys.exit(main())
