"""The folder of one model, as the Hugging Face hub expects it: weights, config.json, a card, a sheet of samples."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import safetensors.torch
from torch import Tensor

from bench.errors import UserError
from bench.results.cell_folder import RECORD, WEIGHTS, CellFolder
from bench.results.exported import CONFIG, described
from bench.results.layout import folder_name
from bench.results.record import Record, read
from bench.sharing.card import card
from bench.storage.checkpoint import load_checkpoint
from bench.storage.files import write_bytes, write_json, write_text

CARD, SHEET = "README.md", "samples.png"


def cells(path: Path) -> list[Path]:
    """The folders of the finished cells that `path` means: a cell, its model.safetensors, or all of a results folder.

    UserError where there is none, or where one has no weights.
    """
    folder = path.parent if path.name == WEIGHTS else path
    if (folder / RECORD).is_file():
        found = [folder]
    else:
        found = [cell.path for cell in CellFolder.all_in(folder) if cell.has_record and cell.read_record().finished]
    if not found:
        raise UserError(f"{path} holds no finished cell: give a results folder, or the folder of a cell in it")
    if bare := next((cell for cell in found if not (cell / WEIGHTS).is_file()), None):
        raise UserError(f"{bare} holds no {WEIGHTS}: its model was not kept, so there is nothing to export")
    return found


def record_of(cell: Path) -> Record:
    """The record of a cell's folder; UserError for a cell that did not finish, and has no model."""
    record = Record(cell / RECORD, read(cell / RECORD))
    if not record.finished:
        raise UserError(f"{cell} did not finish ({record.data['status']}): it has no model to export")
    return record


def name_of(record: Record) -> str:
    """The name of a cell's model, which a folder can have: `ebm-digits-seed-0`."""
    return folder_name(f"{record.model}-{record.dataset}-seed-{record.seed}")


def export(cell: Path, record: Record, out: Path, licence: str) -> None:
    """Write the model of a finished cell into the folder `out`; UserError for weights that the hub cannot take."""
    state, _ = load_checkpoint(cell / WEIGHTS)
    if wrong := next((name for name, value in state.items() if not isinstance(value, Tensor)), None):
        raise UserError(f"{cell / WEIGHTS} holds {wrong!r}, which is no tensor: the hub's format has no place for it")
    weights = safetensors.torch.save(state, {"format": "pt"})
    write_bytes(out / WEIGHTS, weights)
    write_json(out / CONFIG, described(record, hashlib.sha256(weights).hexdigest()))
    write_bytes(out / RECORD, record.path.read_bytes())
    pictured = (cell / SHEET).is_file()
    if pictured:
        shutil.copyfile(cell / SHEET, out / SHEET)
    write_text(out / CARD, card(record, name_of(record), licence, sheet=SHEET if pictured else ""))
