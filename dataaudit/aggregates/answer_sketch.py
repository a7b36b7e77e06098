"""In how many answers each word occurs that its prompt does not have, in hashed cells: how rare a word of an answer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sorted_arrays import added, distinct
from dataaudit.features.table import listed

CELLS = 1 << 19


@dataclass(frozen=True)
class AnswerSketchState:
    rows: int
    at: NDArray[np.int32]
    count: NDArray[np.int32]


@dataclass(frozen=True)
class AnswerSketchView:
    """`texts` (524,288) answers hold a word of the cell, of `rows` in all."""

    rows: int
    texts: NDArray[np.int32]

    def texts_with(self, word: NDArray[np.uint64]) -> NDArray[np.int64]:
        """At most how many answers hold each word."""
        return self.texts[answer_cell(word)].astype(np.int64)


@dataclass(frozen=True)
class AnswerSketch:
    """Exact counts of answers per cell."""

    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("answer_words",)
    State: ClassVar[type] = AnswerSketchState
    View: ClassVar[type] = AnswerSketchView

    def start(self, table: pa.Table, views: Views) -> AnswerSketchState:
        _, word = listed(table, "answer_words")
        at, count = np.unique(answer_cell(word), return_counts=True)
        return AnswerSketchState(len(table), at.astype(np.int32), count.astype(np.int32))

    def merge(self, a: AnswerSketchState, b: AnswerSketchState) -> AnswerSketchState:
        at = distinct(a.at, b.at)
        return AnswerSketchState(a.rows + b.rows, at, added(at, (a.at, a.count), (b.at, b.count)))

    def finish(self, state: AnswerSketchState, views: Views) -> AnswerSketchView:
        texts = np.zeros(CELLS, np.int32)
        texts[state.at] = state.count
        return AnswerSketchView(state.rows, texts)


def answer_cell(word: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a word."""
    return ((word >> np.uint64(12)) % np.uint64(CELLS)).astype(np.int64)
