"""`bench.zoo.load`: a model that `bench.export` wrote, from its folder or from the Hugging Face hub.

model = zoo.load("exported/ebm-digits-seed-0")
images = model.sample(64, torch.Generator().manual_seed(0))
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from bench.config.registry import MODELS
from bench.contract import plugins
from bench.contract.model import GenerativeModel
from bench.errors import UserError, one_line
from bench.results.cell_folder import WEIGHTS
from bench.scoring.models import maker, with_weights
from bench.sharing.folder import CONFIG, FORMAT
from bench.storage.checkpoint import LARGEST
from bench.storage.files import TooLargeError, read_bounded

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_FIELDS = {
    "model": str,
    "factory": str,
    "settings": dict,
    "image_shape": list,
    "training_seed": int,
    "weights_sha256": str,
}
_LARGEST_CONFIG = 2**20  # bytes


def load(
    source: str | Path,
    device: torch.device | str = "cpu",
    *,
    revision: str | None = None,  # of a repository on the hub
    trust_code: bool = False,
) -> GenerativeModel:
    """The model in a folder that `bench.export` wrote or, where there is no such folder, in a repository of the hub.

    The weights are checked against the hash in config.json, and nothing in a file is run. A model that is not the
    suite's or an installed package's is code of its author's (`package.module:factory`): it is imported only with
    `trust_code`, from where Python finds it.
    Raises UserError: no such folder, a damaged or unknown file, weights of another model, a hub that cannot be reached.
    """
    folder = _folder(source, revision)
    about = _about(folder / CONFIG)
    if not trust_code and not plugins.known(about["factory"], "model", MODELS):
        raise UserError(
            f"{folder} holds a model of {one_line(about['factory'])}, which is not in the suite: give trust_code=True "
            "to import that code, or install the package that has it"
        )
    content = _read(folder / WEIGHTS, LARGEST)
    if hashlib.sha256(content).hexdigest() != about["weights_sha256"]:
        raise UserError(f"{folder / WEIGHTS} is damaged, or not that of its {CONFIG}: get both again")
    try:
        state = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / WEIGHTS} is no file of weights ({one_line(error)}): get it again") from None
    channels, height, width = about["image_shape"]
    shape, seed = (channels, height, width), about["training_seed"]
    untrained = maker(about["factory"], about["settings"], shape, seed, torch.device(device))
    return with_weights(untrained, state, str(folder / WEIGHTS)).eval()


def _folder(source: str | Path, revision: str | None) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    if not isinstance(source, str) or not _REPO.fullmatch(source):
        raise UserError(f"there is no folder {source}: give one that bench.export wrote, or OWNER/NAME of the hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        remedy = "pip install short-run-ebm-benchmark[hub], or get the folder by other means"
        raise UserError(f"{source} is no folder here, and huggingface_hub is not installed: {remedy}") from None
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # the hub's client fails in many ways
        raise UserError(f"{source} cannot be had from the hub ({plugins.described(error)}): check the name") from error


def _about(path: Path) -> dict[str, Any]:
    """What config.json says, each field of its type."""
    try:
        about = json.loads(_read(path, _LARGEST_CONFIG).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({one_line(error)}): get it again") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version's bench.export: export the model again")
    wrong = [name for name, kind in _FIELDS.items() if type(about.get(name)) is not kind]
    shape = about.get("image_shape")
    if wrong or len(shape) != 3 or not all(type(side) is int and 0 < side <= 4096 for side in shape):
        raise UserError(f"{path} is damaged: its {(wrong or ['image_shape'])[0]} is missing or wrong: get it again")
    return about


def _read(path: Path, largest: int) -> bytes:
    try:
        return read_bounded(path, largest)
    except (OSError, TooLargeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"cannot read {path} ({reason}): give a folder that bench.export wrote") from None
