"""The two ways a run can end badly: a mistake that the user can mend, and numbers that are not finite."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's: one line that says what was wrong, with the value, and the remedy (exit status 2)."""


class Diverged(Exception):
    """A scalar that is not finite: the run stops with this step, this quantity and the last finite scalars."""

    def __init__(self, step: int, quantity: str, value: float, last_finite: dict[str, float]):
        self.step, self.quantity, self.value, self.last_finite = step, quantity, value, last_finite
        super().__init__(f"{quantity} became {value} at update {step}")
