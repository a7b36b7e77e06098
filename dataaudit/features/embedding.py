"""The content embedding: unit vectors in fixed point, so that sums over any sharding are exact.

A component is stored as an int16 in units of 1/4096.  Products of two components are integers below
2**24, so a float64 sum of them is exact up to 5e8 samples: moments merge in any order to the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.features import Batch
from dataaudit.model import Modality

SCALE = 4096


def quantise(vectors: NDArray[np.floating]) -> NDArray[np.int16]:
    """Unit-normalise the rows of (n, d) and round to fixed point; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return np.asarray(np.rint(unit * SCALE), dtype=np.int16)


def to_column(fixed: NDArray[np.int16]) -> pa.Array:
    """(n, d) int16 as a fixed-size list column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(fixed.reshape(-1)), fixed.shape[1])


def from_column(table: pa.Table, name: str = "embedding") -> NDArray[np.int16]:
    """The fixed-point (n, d) matrix of a column, without copying where it is one chunk."""
    column = table.column(name).combine_chunks()
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.flatten()).reshape(len(array), array.type.list_size)


def unit(table: pa.Table, name: str = "embedding") -> NDArray[np.float32]:
    """The column as float32 vectors of about unit length, shape (n, d)."""
    return from_column(table, name).astype(np.float32) / np.float32(SCALE)


@dataclass(frozen=True)
class Embedding:
    """The content's vector in fixed point: the user's own where there is one, else the plan's encoder's."""

    modalities: ClassVar[tuple[Modality, ...]] = ("labelled-images", "captioned-images", "labelled-text", "instructions", "text", "vectors")

    def compute(self, batch: Batch) -> pa.Array:
        """One fixed-point vector a sample."""
        return to_column(quantise(self.vectors(batch)))

    def vectors(self, batch: Batch) -> NDArray[np.float32]:
        """Shape (n, d), of any norm."""
        plan = batch.plan
        if plan.columns.embedding is not None or plan.modality == "vectors":
            return np.stack([np.asarray(s.vector, dtype=np.float32) for s in batch.samples])
        from dataaudit.features import encoders

        return encoders.of_content(plan).encode(batch.images if plan.pictures else batch.texts)
