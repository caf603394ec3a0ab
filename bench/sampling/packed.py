"""A model on its way to another process, and what that process answers when it is asked for a block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.contract.model import GenerativeModel
from bench.errors import DivergedError, UserError, one_line
from bench.sampling.blocks import Block, draw
from bench.sampling.shared import Lost, Untrained
from bench.storage.checkpoint import checkpoint_bytes, parse_checkpoint

MADE, REFUSED, FAILED = "made", "refused", "failed"

Packed = tuple[Untrained, bytes]  # what makes the model, and its weights as a checkpoint
Answer = tuple[str, Any]  # MADE with an array of bytes (n, C, H, W), REFUSED with nothing, FAILED with a line


def pack(untrained: Untrained, model: GenerativeModel) -> Packed:
    """The model as a helper gets it; `untrained` makes it anew there."""
    return untrained, bytes(checkpoint_bytes(model.state_dict(), {}))


class Drawer:
    """The model in the other process."""

    def __init__(self, packed: Packed, device: str):
        untrained, content = packed
        self._model = untrained(torch.device(device))
        self._model.load_state_dict(parse_checkpoint(content)[0])
        self._factor: float | None = None
        self._at_factor = self._model

    @torch.no_grad()
    def answer(self, block: Block) -> Answer:
        """The block. REFUSED for an error that the process which asked meets itself when it draws the block."""
        try:
            if block.factor != self._factor:
                self._at_factor = self._model if block.factor is None else self._model.at_compute(block.factor)
                self._factor = block.factor
            return MADE, draw(self._at_factor, block).numpy()
        except (DivergedError, UserError):
            return REFUSED, None
        except Exception as error:  # of any kind, lack of memory among them: others draw the block
            return FAILED, one_line(f"{type(error).__name__}: {error}")


def opened(answer: Answer) -> Tensor | None:
    """The samples of an answer; None where they are refused. Raises Lost for FAILED."""
    kind, content = answer
    if kind == FAILED:
        raise Lost(content)
    return None if content is None else torch.tensor(content)
