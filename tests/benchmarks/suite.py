"""What a benchmark is made of: its cells, and the functions that a suite of them gives the command line.

A cell is one attack at one rate in one data set with one seed.  Rates are shares of the whole data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dataaudit.model import Finding

SEEDS = (1, 2, 3)
LEAST = 10
Part = Literal["ours", "baselines"]
Figure = Literal["tpr_at_0.001", "auroc", "within_3n"]


class Missing(RuntimeError):
    """A data set or an attack that cannot be had here; the message is the reason."""


@dataclass(frozen=True, order=True)
class Cell:
    """`limit` samples of `dataset` with `attack` at `rate`, or in `count`; `noise` is a share of labels flipped at random beside it."""

    dataset: str
    limit: int
    attack: str = "none"
    rate: float = 0.0
    seed: int = 1
    clean_label: bool = False
    noise: float = 0.0
    count: int = 0

    @property
    def row(self) -> str:
        """The readable name but for the seed."""
        parts = [self.dataset, f"{self.limit:05d}", self.attack]
        parts += [f"{self.rate:g}"] if self.rate else []
        parts += [f"of{self.count}"] if self.count else []
        parts += ["clean"] if self.clean_label else []
        parts += [f"noise{self.noise:g}"] if self.noise else []
        return "-".join(parts)

    @property
    def id(self) -> str:
        """The readable name, used for its file."""
        return f"{self.row}-seed{self.seed}"


class Suite(Protocol):
    """A module of cells: what the command line and the table need to know of it."""

    NAME: str
    MOST_FLAGGED: float
    """The largest share of clean samples that may be flagged where nothing was planted."""

    def wanted(self, which: str) -> list[Cell]:
        """The cells of a set: headline, broad, baselines or all."""
        ...

    def goal(self, cell: Cell) -> float | None:
        """What was promised of a cell: the least that its figure may be; 0 where it is no false alarm, or that each campaign is named."""
        ...

    def figure(self, cell: Cell) -> Figure:
        """The figure that a cell is judged by."""
        ...

    def code(self) -> str:
        """A digest of the code that is measured."""
        ...

    def baselines_code(self) -> str:
        """A digest of the baselines' code."""
        ...

    def unprepared(self, dataset: str, limit: int, cache: Path) -> list[int]:
        """The chunks of a data set's clean features that are not there yet; raises Missing."""
        ...

    def prepare(self, dataset: str, limit: int, number: int, cache: Path) -> None:
        """Compute one chunk of clean features."""
        ...

    def about(self, cell: Cell) -> dict[str, Any]:
        """What every result says of its cell, run or missing."""
        ...

    def run(self, cell: Cell, part: str, cache: Path) -> dict[str, Any]:
        """One part of a cell's result; what cannot be had gives the reason under `missing`."""
        ...


class Expected(Protocol):
    """A campaign that should be found: its target (None: any), the rows that carry it, and the kinds of findings that count."""

    @property
    def target(self) -> str | None: ...
    @property
    def rows(self) -> NDArray[np.intp]: ...
    @property
    def attack(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...

    def recognised(self, finding: Finding) -> Mapping[str, Any]:
        """Whether the trigger that a finding shows is the planted one (`right_trigger`, None where that cannot be told), and more."""
        ...


class Planted(Protocol):
    """What an audit is measured against: `bad` and `cover` are (n,), covers (a trigger without its payload) are not bad."""

    @property
    def bad(self) -> NDArray[np.bool_]: ...
    @property
    def cover(self) -> NDArray[np.bool_]: ...
    @property
    def expected(self) -> Sequence[Expected]: ...


def chosen(which: str, headline: list[Cell], broad: list[Cell]) -> list[Cell]:
    """The cells of a set; baselines run in the headline cells of seed 1."""
    match which:
        case "headline":
            return headline
        case "broad":
            return broad
        case "baselines":
            return [cell for cell in headline if cell.seed == 1]
    return [*headline, *broad]


def poisons(rate: float, count: int) -> int:
    """The number of poisons that a rate means; never fewer than 10."""
    return max(LEAST, round(rate * count)) if rate > 0 else 0


def carriers(cell: Cell, size: int) -> int:
    """The number of poisons in a cell of `size` samples: the one it names, or what its rate means."""
    return cell.count or poisons(cell.rate, size)
