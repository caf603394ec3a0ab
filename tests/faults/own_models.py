"""Models that fail on purpose, for `--models tests.faults.own_models:NAME`."""

from __future__ import annotations

import torch

from baselines.vae import VAETrainer


class Plain(VAETrainer):
    """A factory of one's own that fails nowhere."""

    inherits = "vae"  # the profile's settings


class OutOfMemory(VAETrainer):
    """The device has no memory left at the third update."""

    inherits = "vae"
    done = 0

    def step(self, images, generator):
        self.done += 1
        if self.done == 3:
            raise torch.OutOfMemoryError("tried to allocate 20.00 GiB\nand a second line")
        return super().step(images, generator)


class OutOfMemoryLater(VAETrainer):
    """It trains, but its evaluation asks for more than there is."""

    inherits = "vae"

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.model.sample = self.refuse

    @staticmethod
    def refuse(n, generator):
        return torch.empty(1 << 60)  # the CPU's allocator refuses by itself


class Faulty(VAETrainer):
    """A mistake in a researcher's own code is no divergence."""

    inherits = "vae"

    def step(self, images, generator):
        raise ZeroDivisionError("a mistake in the model")
