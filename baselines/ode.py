"""Ordinary differential equations dx/dt = v(x, t) in a fixed number of evaluations of v."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # states (n, ...) and times (n,) to velocities (n, ...)


class Step(NamedTuple):
    """One step from time `t` by `h`, which is negative for a step backwards."""

    solver: str
    t: float
    h: float

    def __call__(self, field: Field, x: Tensor) -> Tensor:
        """The state at t + h that follows from `x` (n, ...) at t."""

        def v(x: Tensor, t: float) -> Tensor:
            return field(x, x.new_full((len(x),), t))

        first = v(x, self.t)
        if self.solver == "heun":  # the mean of the velocities at both ends
            return x + self.h / 2 * (first + v(x + self.h * first, self.t + self.h))
        if self.solver == "midpoint":
            return x + self.h * v(x + self.h / 2 * first, self.t + self.h / 2)
        return x + self.h * first


STAGES = {"euler": 1, "midpoint": 2, "heun": 2}  # evaluations a step; also the solver's order of convergence


def steps(solver: str, evaluations: int, start: float = 0.0, end: float = 1.0) -> list[Step]:
    """Equal steps from `start` to `end` that spend exactly `evaluations` evaluations of the field, at least 1.

    An odd number leaves a solver of two stages one evaluation: its last step is Euler's, as in algorithm 1 of Karras et
    al. 2022, arXiv 2206.00364. One such step does not lower the order of convergence.
    """
    full, left = divmod(evaluations, STAGES[solver])
    h = (end - start) / (full + left)
    names = [solver] * full + ["euler"] * left
    return [Step(name, start + k * h, h) for k, name in enumerate(names)]


def states(field: Field, x: Tensor, taken: Sequence[Step]) -> Iterator[Tensor]:
    """The state after each of the steps from `x` (n, ...)."""
    for step in taken:
        x = step(field, x)
        yield x
