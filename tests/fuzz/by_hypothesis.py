"""The engine that shrinks: Hypothesis draws the steps of `tests/fuzz/changes.py`."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.changes import changed
from tests.fuzz.subjects import Subject

DRAW = st.binary(min_size=9, max_size=2 + 4 * 7)  # an input: which seed, how, and seven bytes a step
BATCH = 10_000  # inputs of one run of the engine, which grows slower with all that it has drawn


@dataclass
class Outcome:
    """What came of a subject's inputs; `failure` is the smallest input that broke the promise, with its error."""

    inputs: int = 0
    accepted: int = 0
    failure: tuple[bytes, Exception] | None = None


def fuzz(subject: Subject, inputs: int, start: int = 0) -> Outcome:
    """Give the reader that many changed files, or fewer where one breaks it. `start` seeds the draws."""
    outcome, seeds = Outcome(), subject.seeds()
    for content in seeds:  # a seed that is refused would leave the fuzzer on the doorstep
        subject.read(content)
    while outcome.inputs < inputs and outcome.failure is None:
        _batch(subject, seeds, min(BATCH, inputs - outcome.inputs), start + outcome.inputs, outcome)
    return outcome


def _input(subject: Subject, seeds: list[bytes], draw: bytes) -> bytes:
    """What the drawn bytes stand for: one draw an input, since drawing is what takes the time."""
    steps = [
        (draw[i], int.from_bytes(draw[i + 1 : i + 3], "big"), int.from_bytes(draw[i + 3 : i + 7], "big"))
        for i in range(2, len(draw), 7)
    ]
    return changed(subject.form, seeds, draw[0], bool(draw[1] & 1), bool(draw[1] & 2), steps)


def _batch(subject: Subject, seeds: list[bytes], inputs: int, start: int, outcome: Outcome) -> None:
    last = b""

    @seed(start)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(DRAW)
    def one(draw: bytes) -> None:
        nonlocal last
        last = _input(subject, seeds, draw)
        outcome.inputs += 1
        outcome.accepted += subject.read(last)

    try:
        one()
    except Exception as error:  # whatever it is, it is what was looked for; Hypothesis replays the smallest one last
        outcome.failure = (last, error)
