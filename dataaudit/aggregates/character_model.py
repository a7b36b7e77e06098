"""What writing looks like in this data set: the statistics of neighbouring characters.

Fitted on the data itself, so that code, chat and any language are their own norm; what looks like nothing else in
the corpus stands out by its mean surprise (bits a character), judged against texts of like length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.features.characters import CLASSES
from dataaudit.features.table import listed


@dataclass(frozen=True)
class CharacterModelState:
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class CharacterModelView:
    """`bits` (65,536) is the surprise -log2 p(second class | first class) of each pair code."""

    bits: NDArray[np.float32]

    def surprise(self, table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Mean bits a character of each row, and how many pairs it rests on (0 where there is no text)."""
        codes, row, rows = flat(table)
        length = np.bincount(row, minlength=rows)
        total = np.bincount(row, self.bits[codes], rows)
        return total / np.maximum(length, 1), length


@dataclass(frozen=True)
class CharacterModel:
    """Exact counts of the texts that hold each character pair."""

    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("characters",)
    State: ClassVar[type] = CharacterModelState
    View: ClassVar[type] = CharacterModelView

    def start(self, table: pa.Table, views: Views) -> CharacterModelState:
        codes, _, _ = flat(table)
        return CharacterModelState(np.bincount(codes, minlength=CLASSES**2).astype(np.int64))

    def merge(self, a: CharacterModelState, b: CharacterModelState) -> CharacterModelState:
        return CharacterModelState(a.counts + b.counts)

    def finish(self, state: CharacterModelState, views: Views) -> CharacterModelView:
        counts = state.counts.reshape(CLASSES, CLASSES).astype(np.float64)
        seconds = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * CLASSES)
        smoothed = (counts + 5 * seconds) / (counts.sum(1, keepdims=True) + 5)
        return CharacterModelView((-np.log2(smoothed)).astype(np.float32).reshape(-1))


def flat(table: pa.Table) -> tuple[NDArray[np.uint16], NDArray[np.int64], int]:
    """All codes of a batch, the row of each, and the number of rows; no codes where the modality has none."""
    row, codes = listed(table, "characters")
    return codes.astype(np.uint16), row, len(table)
