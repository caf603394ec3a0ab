"""TensorBoard: event files below `tracking/tensorboard` of a results folder (`tensorboard --logdir` shows them)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from bench.results.cell_folder import CellFolder
from bench.tracking import FOLDER, title


class TensorBoard:
    """A folder of event files. A resumed cell adds one."""

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self.writer = SummaryWriter(str(folder))
        rows = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in config.items()]
        self.writer.add_text("config", "\n".join(["| setting | value |", "| --- | --- |", *rows]))

    def scalars(self, update: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, update)

    def picture(self, update: int, name: str, path: Path) -> None:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self.writer.add_image(name, pixels, update, dataformats="HWC")

    def close(self, status: str) -> None:
        self.writer.add_text("status", status or "interrupted")
        self.writer.close()


def start(folder: CellFolder, config: Mapping[str, Any]) -> TensorBoard:
    return TensorBoard(folder.out / FOLDER / "tensorboard" / title(folder), config)
