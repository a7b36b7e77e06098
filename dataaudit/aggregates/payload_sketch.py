"""How many texts say each payload, in hashed cells: a first pass that says what recurs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sorted_arrays import added, distinct
from dataaudit.features.table import listed

CELLS = 1 << 20


@dataclass(frozen=True)
class PayloadSketchState:
    """The cells that are not empty, ascending, and how many texts fell into each."""

    cells: NDArray[np.int32]
    counts: NDArray[np.int32]


@dataclass(frozen=True)
class PayloadSketchView:
    """`texts` (1,048,576) is the texts of each cell, at least those of any payload in it."""

    texts: NDArray[np.int32]

    def texts_with(self, payload: NDArray[np.uint64]) -> NDArray[np.int64]:
        """At most how many texts say each payload."""
        return self.texts[cell(payload)].astype(np.int64)


@dataclass(frozen=True)
class PayloadSketch:
    """Counts in 1,048,576 hashed cells, kept sparse; at most 8 MB."""

    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("payloads",)
    State: ClassVar[type] = PayloadSketchState
    View: ClassVar[type] = PayloadSketchView

    def start(self, table: pa.Table, views: Views) -> PayloadSketchState:
        _, payload = listed(table, "payloads")
        cells, counts = np.unique(cell(payload), return_counts=True)
        return PayloadSketchState(cells.astype(np.int32), counts.astype(np.int32))

    def merge(self, a: PayloadSketchState, b: PayloadSketchState) -> PayloadSketchState:
        cells = distinct(a.cells, b.cells)
        return PayloadSketchState(cells, added(cells, (a.cells, a.counts), (b.cells, b.counts)))

    def finish(self, state: PayloadSketchState, views: Views) -> PayloadSketchView:
        texts = np.zeros(CELLS, np.int32)
        texts[state.cells] = state.counts
        return PayloadSketchView(texts)


def cell(payload: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a payload."""
    return (payload >> np.uint64(44)).astype(np.int64)
