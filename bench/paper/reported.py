"""The paper's own numbers, from `reported.toml`: shown beside measured ones, never mixed with them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "reported.toml"
UNCONFIRMED = "†"  # marks a number that has not yet been checked against the paper


@dataclass(frozen=True)
class Value:
    """One entry in one of the paper's tables. Entries of tables 2, 3a and 3b have the settings K, sigma and n_f."""

    table: str  # 1a, 1b, 2, 3a or 3b
    model: str  # as in bench.config.registry
    dataset: str
    score: str  # IS, FID, MSE or gradient norm
    value: Decimal  # with the digits that the paper prints
    confirmed: bool
    steps: int | None = None
    sigma: float | None = None
    n_f: int | None = None

    @property
    def text(self) -> str:
        return f"{self.value}{'' if self.confirmed else UNCONFIRMED}"


@dataclass(frozen=True)
class Reported:
    """The whole file."""

    source: str
    settings: dict[str, Any]  # used for the numbers; `ebm` holds those of the energy model
    datasets: dict[str, dict[str, Any]]  # name -> title, and n_f of table 1; in the paper's order
    values: tuple[Value, ...]

    def of(self, table: str) -> list[Value]:
        return [value for value in self.values if value.table == table]


@cache
def reported() -> Reported:
    """The shipped file, read once."""
    text = FILE.read_text(encoding="utf-8")
    # settings are compared with floats in records, values keep the digits that the paper prints
    table, exact = tomllib.loads(text), tomllib.loads(text, parse_float=Decimal)
    values = tuple(
        Value(**{key: float(x) if key == "sigma" else x for key, x in entry.items()})
        for entry in exact["reported"]["values"]
    )
    return Reported(table["source"], table["settings"], table["datasets"], values)
