"""How often each phrase of captions occurs, and how often beside a picture that it does not fit, in hashed cells.

A cell counts everything that hashes to it (Cormode and Muthukrishnan 2005, one row); it says which phrases are worth counting exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.pair_agreement import misfits
from dataaudit.features.table import listed

CELLS = 1 << 20


@dataclass(frozen=True)
class CaptionSketchState:
    """`pairs` (CELLS,) with a phrase of a cell, and `misfits` (CELLS,) among them."""

    pairs: NDArray[np.int32]
    misfits: NDArray[np.int32]


@dataclass(frozen=True)
class CaptionSketch:
    """Counts of 1- to 3-grams of captions; 8 MB."""

    needs: ClassVar[tuple[str, ...]] = ("pair_regression", "pair_agreement")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding", "caption_phrases")
    State: ClassVar[type] = CaptionSketchState
    View: ClassVar[type] = CaptionSketchState

    def start(self, table: pa.Table, views: Views) -> CaptionSketchState:
        """The phrases of a batch."""
        row, phrase = listed(table, "caption_phrases")
        cells = cell(phrase)
        counted = (np.bincount(c, minlength=CELLS).astype(np.int32) for c in (cells, cells[misfits(table, views)[row]]))
        return CaptionSketchState(*counted)

    def merge(self, a: CaptionSketchState, b: CaptionSketchState) -> CaptionSketchState:
        """Counts add up."""
        return CaptionSketchState(a.pairs + b.pairs, a.misfits + b.misfits)

    def finish(self, state: CaptionSketchState, views: Views) -> CaptionSketchState:
        """The counts themselves."""
        return state


def cell(phrase: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a phrase."""
    return ((phrase * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)).astype(np.int64)
