"""How thin the data is where the proxy sees each picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, density
from dataaudit.aggregates.knn import share_of_all
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.aggregates.spaces import Space, measured
from dataaudit.features import embedding


@dataclass(frozen=True)
class ProxyDensityState:
    """References by `rank` (m,), ascending, and their `vectors` (m, d) in fixed point."""

    rank: NDArray[np.uint64]
    vectors: NDArray[np.int16]


@dataclass(frozen=True)
class ProxyDensityView:
    """The references `rank` (n,), ascending, with `vectors` (n, d); `reach`, `dimension` and `thinness` at `ks` are as in `KnnView`."""

    rank: NDArray[np.uint64]
    vectors: NDArray[np.int16]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]

    def standing_out(self, table: pa.Table) -> NDArray[np.float64]:
        """How far each row stands out, in robust standard deviations, shape (n,)."""
        known = np.full(len(table), -1)
        row, place = matched(np.asarray(table.column("rank"), dtype=np.uint64), self.rank)
        known[row] = place
        return self._space.standing_out(embedding.from_column(table, "proxy_embedding"), known)

    @cached_property
    def _space(self) -> Space:
        return Space(self.vectors, self.ks, self.reach, self.dimension, self.thinness)


@dataclass(frozen=True)
class ProxyDensity:
    """Density among many neighbours alone: a trigger's pictures lie together, and shelter each other among few.

    A state of 65,536 references of 64 components takes 9 MB.
    """

    needs: ClassVar[tuple[str, ...]] = ("moments",)
    columns: ClassVar[tuple[str, ...]] = ("proxy_embedding",)
    State: ClassVar[type] = ProxyDensityState
    View: ClassVar[type] = ProxyDensityView

    references: int = 65_536

    def start(self, table: pa.Table, views: Views) -> ProxyDensityState:
        """The references among a batch."""
        return self._smallest(np.asarray(table.column("rank"), dtype=np.uint64), embedding.from_column(table, "proxy_embedding"))

    def merge(self, a: ProxyDensityState, b: ProxyDensityState) -> ProxyDensityState:
        """The smallest ranks of both."""
        return self._smallest(np.concatenate([a.rank, b.rank]), np.concatenate([a.vectors, b.vectors]))

    def _smallest(self, rank: NDArray[np.uint64], vectors: NDArray[np.int16]) -> ProxyDensityState:
        found, first = np.unique(rank, return_index=True)
        kept = bottom_k(found, self.references)
        return ProxyDensityState(found[kept], vectors[first[kept]])

    def finish(self, state: ProxyDensityState, views: Views) -> ProxyDensityView:
        """Look up every reference's neighbours."""
        ks = density.scales(len(state.rank), share_of_all(len(state.rank), views))[-1:]
        return ProxyDensityView(state.rank, state.vectors, np.array(ks, np.int64), *measured(state.vectors, ks))
