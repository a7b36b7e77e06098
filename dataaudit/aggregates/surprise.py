"""Which texts look like nothing else in the corpus: gibberish, cipher, noise.

The mean surprise of a text under the corpus's own character model varies more the shorter the text is.  Its spread
is measured on a bounded sample per class of length (powers of two), robustly (median and the spread of the
quartiles), and a text is "unlike text" when it lies far above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sampling import bottom_k

LENGTH_CLASSES = 11


@dataclass(frozen=True)
class SurpriseState:
    rank: NDArray[np.uint64]
    bits: NDArray[np.float32]
    length: NDArray[np.int32]


@dataclass(frozen=True)
class SurpriseView:
    """Centre and spread (bits a character) per class of length; `limit` spreads above the centre is unlike text."""

    bits: NDArray[np.float32]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    limit: float
    min_length: int

    def excess(self, bits: NDArray[np.float64], length: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many spreads a text lies above texts of its length; 0 where it is too short to tell."""
        at = length_class(length)
        return np.where(length >= self.min_length, (bits - self.centre[at]) / self.spread[at], 0.0)

    def unlike(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows are unlike text."""
        from dataaudit.aggregates.character_model import CharacterModelView

        return np.asarray(self.excess(*CharacterModelView(self.bits).surprise(table)) > self.limit)


@dataclass(frozen=True)
class Surprise:
    """The spread of the mean surprise, on the bottom-k sample."""

    needs: ClassVar[tuple[str, ...]] = ("character_model",)
    columns: ClassVar[tuple[str, ...]] = ("characters",)
    State: ClassVar[type] = SurpriseState
    View: ClassVar[type] = SurpriseView

    sample: int = 100_000
    limit: float = 5.0
    min_length: int = 6

    def start(self, table: pa.Table, views: Views) -> SurpriseState:
        bits, length = views["character_model"].surprise(table)
        rank = np.asarray(table.column("rank"))
        kept = bottom_k(rank, self.sample)
        return SurpriseState(rank[kept], bits[kept].astype(np.float32), length[kept].astype(np.int32))

    def merge(self, a: SurpriseState, b: SurpriseState) -> SurpriseState:
        rank = np.concatenate([a.rank, b.rank])
        kept = bottom_k(rank, self.sample)
        return SurpriseState(rank[kept], np.concatenate([a.bits, b.bits])[kept], np.concatenate([a.length, b.length])[kept])

    def finish(self, state: SurpriseState, views: Views) -> SurpriseView:
        centre, spread = np.zeros(LENGTH_CLASSES), np.ones(LENGTH_CLASSES)
        usable = state.length >= self.min_length
        overall = _robust(state.bits[usable].astype(np.float64)) if usable.any() else (0.0, 1.0)
        classes = length_class(state.length.astype(np.int64))
        for i in range(LENGTH_CLASSES):
            own = state.bits[usable & (classes == i)].astype(np.float64)
            centre[i], spread[i] = _robust(own) if len(own) >= 50 else overall
        return SurpriseView(views["character_model"].bits, centre, spread, self.limit, self.min_length)


def length_class(length: NDArray[np.int64]) -> NDArray[np.int64]:
    """The power of two at or below a length, as a number from 0."""
    return np.minimum(np.log2(np.maximum(length, 1)).astype(np.int64), LENGTH_CLASSES - 1)


def _robust(values: NDArray[np.float64]) -> tuple[float, float]:
    """The median and the upper half's quartile as a standard deviation, at least 0.1 bit (equal texts have no spread)."""
    middle, upper = np.quantile(values, [0.5, 0.75])
    return float(middle), max(float(upper - middle) / 0.6745, 0.1)
