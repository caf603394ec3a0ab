"""What is known of a race, and its file: a lane for each contestant and training seed, with its points. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.contract.scores import Point
from bench.errors import UserError, one_line
from bench.storage.files import TooLargeError, read_bounded, write_json

FILE = "race.json"
SCHEMA = 1
LARGEST = 2**26  # bytes of the file


@dataclass
class Lane:
    """One training of one contestant."""

    contestant: str
    seed: int
    planned: int  # updates
    status: str = "racing"  # then finished, diverged or oom
    message: str = ""  # why it is not finished
    updates: int = 0
    seconds: float = 0.0
    points: list[Point] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status != "racing"

    @classmethod
    def of(cls, content: dict[str, Any]) -> Lane:
        """From what `asdict` makes of one."""
        return cls(**{**content, "points": [Point(**point) for point in content["points"]]})


@dataclass
class Race:
    """The content of race.json."""

    settings: dict[str, Any]  # all that decides the race but the training seeds
    environment: dict[str, Any]
    command: str
    metric: str  # the score's label
    real: float  # the score of real images that are not for training
    seconds_per_update: dict[str, float]  # by contestant, measured before the race
    lanes: list[Lane] = field(default_factory=list)

    @property
    def contestants(self) -> list[str]:
        return list(self.seconds_per_update)

    def of(self, contestant: str) -> list[Lane]:
        """The contestant's lanes, one for each seed."""
        return [lane for lane in self.lanes if lane.contestant == contestant]

    def lane(self, contestant: str, seed: int, planned: int) -> Lane:
        """The lane of that contestant and seed, a new one where there is none."""
        for lane in self.of(contestant):
            if lane.seed == seed:
                return lane
        self.lanes.append(Lane(contestant, seed, planned))
        return self.lanes[-1]

    def put(self, lane: Lane) -> None:
        """Take the lane in place of the one of its contestant and seed."""
        of = (lane.contestant, lane.seed)
        self.lanes = [lane if (one.contestant, one.seed) == of else one for one in self.lanes]

    def write(self, out: Path) -> None:
        """Atomic."""
        write_json(out / FILE, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def read(cls, out: Path) -> Race | None:
        """The race in a folder; None where there is none, UserError for a damaged file."""
        path = out / FILE
        if not path.exists():
            return None
        try:
            content = json.loads(read_bounded(path, LARGEST))
            if content.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            return cls(**{**content, "lanes": [Lane.of(one) for one in content["lanes"]]})
        except TooLargeError as error:
            reason: object = error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; check its permissions") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is damaged ({one_line(reason)}): choose another --out, or move {out} away")


def last_score(lane: Lane) -> float | None:
    """The score of a finished lane at its end."""
    return lane.points[-1].score if lane.status == "finished" and lane.points else None


def everything(lanes: Sequence[Lane]) -> list[Point]:
    """The points of all lanes."""
    return [point for lane in lanes for point in lane.points]
