"""Where texts turn into something else than the rest of the data, and how far that is beyond the usual.

A window's surprise is its mean bits a character under the data's own character model.  What a run of windows has
beyond the median window, shrunk as if `shrink` usual windows belonged to it, is the run's excess; the run with the
largest is where a text changes.  How large it usually gets is measured on a bounded sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.sorted_arrays import place_in_run
from dataaudit.features.table import listed
from dataaudit.features.windows import PAIRS, WINDOWS


@dataclass(frozen=True)
class ChangePointsState:
    """Bits (r, 16) and pairs (r, 16) of the windows of the texts with the lowest ranks (r,)."""

    rank: NDArray[np.uint64]
    bits: NDArray[np.float32]
    size: NDArray[np.uint8]


@dataclass(frozen=True)
class Runs:
    """By text the largest excess in bits a character, and the windows `start` to `end` (not included) of that run."""

    excess: NDArray[np.float64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class ChangePointsView:
    """`centre` is the median window's bits a character; an excess from `gate` on is a change of a kind that the data does not have."""

    bits: NDArray[np.float32]
    centre: float
    gate: float
    shrink: float

    def runs(self, table: pa.Table) -> Runs:
        """The run of each row that is the most surprising."""
        return runs(*surprise(table, self.bits), self.centre, self.shrink)


@dataclass(frozen=True)
class ChangePoints:
    """The usual excess: the gate is `beyond` times what nine in ten texts stay below, at least `least` bits a character."""

    needs: ClassVar[tuple[str, ...]] = ("character_model",)
    columns: ClassVar[tuple[str, ...]] = ("windows",)
    State: ClassVar[type] = ChangePointsState
    View: ClassVar[type] = ChangePointsView

    sample: int = 20_000
    shrink: float = 4.0
    beyond: float = 10.0
    least: float = 1.2

    def start(self, table: pa.Table, views: Views) -> ChangePointsState:
        bits, size = surprise(table, views["character_model"].bits)
        rank = np.asarray(table.column("rank")).astype(np.uint64)
        kept = bottom_k(rank, self.sample)
        return ChangePointsState(rank[kept], bits[kept].astype(np.float32), size[kept].astype(np.uint8))

    def merge(self, a: ChangePointsState, b: ChangePointsState) -> ChangePointsState:
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.sample)
        return ChangePointsState(rank[kept], np.concatenate([a.bits, b.bits])[kept], np.concatenate([a.size, b.size])[kept])

    def finish(self, state: ChangePointsState, views: Views) -> ChangePointsView:
        bits, size = state.bits.astype(np.float64), state.size.astype(np.int64)
        usable = size >= PAIRS // 2
        centre = float(np.median(bits[usable])) if usable.any() else 0.0
        usual = runs(bits, size, centre, self.shrink).excess
        tail = float(np.quantile(usual, 0.9)) if len(usual) else 0.0
        return ChangePointsView(views["character_model"].bits, centre, max(self.least, self.beyond * tail), self.shrink)


@dataclass(frozen=True)
class Pairs:
    """All pair codes of a batch, the row and the window of each, and the number of rows."""

    code: NDArray[np.uint16]
    row: NDArray[np.int64]
    window: NDArray[np.int64]
    rows: int


def flat(table: pa.Table) -> Pairs:
    """The column `windows` of a batch; nothing where there is no such column."""
    row, code = listed(table, "windows")
    return Pairs(code.astype(np.uint16), row, np.minimum(place_in_run(row) // PAIRS, WINDOWS - 1), len(table))


def surprise(table: pa.Table, bits: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean bits a character of each window (rows, 16), and the pairs it rests on; what repeats at once is no surprise."""
    pairs = flat(table)
    cell, size = pairs.row * WINDOWS + pairs.window, pairs.rows * WINDOWS
    again = np.zeros(len(cell), bool)
    for step in (1, 2):
        again[step:] |= (pairs.code[step:] == pairs.code[:-step]) & (cell[step:] == cell[:-step])
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, np.where(again, 0.0, bits[pairs.code].astype(np.float64)), size)
    return (total / np.maximum(count, 1)).reshape(-1, WINDOWS), count.reshape(-1, WINDOWS)


def runs(bits: NDArray[np.float64], size: NDArray[np.int64], centre: float, shrink: float) -> Runs:
    """The run of windows with the largest shrunk excess of each row; windows below half the size count for nothing."""
    weight = np.where(size >= PAIRS // 2, size / PAIRS, 0.0)
    # To single precision, as the sample keeps them, and summed in one order: no batch makes a difference.
    zero = np.zeros((len(bits), 1))
    above = np.concatenate([zero, np.cumsum(weight * (bits.astype(np.float32).astype(np.float64) - centre), axis=1)], axis=1)
    length = np.concatenate([zero, np.cumsum(weight, axis=1)], axis=1)
    excess, start, end = np.zeros(len(bits)), np.zeros(len(bits), np.int64), np.zeros(len(bits), np.int64)
    for first in range(WINDOWS):
        for last in range(first + 1, WINDOWS + 1):
            own = (above[:, last] - above[:, first]) / (length[:, last] - length[:, first] + shrink)
            better = own > excess
            excess[better], start[better], end[better] = own[better], first, last
    return Runs(excess, start, end)
