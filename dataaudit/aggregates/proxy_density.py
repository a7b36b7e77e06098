"""How thin the data is where the proxy sees each pair, and how little an early one says that its parts agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, density
from dataaudit.aggregates.knn import share_of_all
from dataaudit.aggregates.sampling import bottom_k, fold_of
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.aggregates.spaces import Space, joined, measured
from dataaudit.features import embedding

FOLDS = 2
MEASURES = ("pictures", "pairs", "early")
"""In which respects a pair may stand out: among pictures, among pairs, and by how little the early proxy says that both parts agree."""


@dataclass(frozen=True)
class ProxyDensityState:
    """References by `rank` (m,), ascending: picture and caption side by side (m, 2 d), and `early` cosines (m,), all in fixed point."""

    rank: NDArray[np.uint64]
    pairs: NDArray[np.int16]
    early: NDArray[np.int16]


@dataclass(frozen=True)
class ProxyDensityView:
    """Two spaces of the references `rank` (n,), ascending: of pictures, and of `pairs` (n, 2 d), picture and caption side by side.

    `reach`, `dimension` and `thinness` (2 n, ...) at `ks` are as in `KnnView`, first of pictures, then of pairs.  `usual` (2, 2) holds the
    median and robust deviation of the early cosine by fold, in fixed point: each fold has another early proxy.
    """

    rank: NDArray[np.uint64]
    pairs: NDArray[np.int16]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]
    usual: NDArray[np.float64]

    def standing_out(self, table: pa.Table) -> NDArray[np.float64]:
        """How far each row stands out in each of `MEASURES`, shape (n, 3), in robust standard deviations."""
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        pairs, early = _seen(table)
        known = np.full(len(rank), -1)
        row, place = matched(rank, self.rank)
        known[row] = place
        found = [space.standing_out(pairs[:, : space.vectors.shape[1]], known) for space in self._spaces]
        middle, spread = self.usual[fold_of(rank, FOLDS)].T
        at_odds = np.where(spread > 0, np.maximum(middle - early, 0) / np.maximum(spread, 1), 0)
        return np.column_stack([*found, at_odds])

    @cached_property
    def _spaces(self) -> list[Space]:
        number, width = len(self.rank), self.pairs.shape[1] // 2
        both = ((self.pairs[:, :width], slice(number)), (self.pairs, slice(number, None)))
        return [Space(vectors, self.ks, self.reach[r], self.dimension[r], self.thinness[r]) for vectors, r in both]


@dataclass(frozen=True)
class ProxyDensity:
    """A state of 65,536 references of twice 64 components takes 17 MB."""

    needs: ClassVar[tuple[str, ...]] = ("moments",)
    columns: ClassVar[tuple[str, ...]] = ("proxy_embedding", "proxy_target_embedding", "proxy_early")
    State: ClassVar[type] = ProxyDensityState
    View: ClassVar[type] = ProxyDensityView

    references: int = 65_536

    def start(self, table: pa.Table, views: Views) -> ProxyDensityState:
        """The references among a batch."""
        return self._smallest(np.asarray(table.column("rank"), dtype=np.uint64), *_seen(table))

    def merge(self, a: ProxyDensityState, b: ProxyDensityState) -> ProxyDensityState:
        """The smallest ranks of both."""
        rank, pairs, early = np.concatenate([a.rank, b.rank]), np.concatenate([a.pairs, b.pairs]), np.concatenate([a.early, b.early])
        return self._smallest(rank, pairs, early)

    def _smallest(self, rank: NDArray[np.uint64], pairs: NDArray[np.int16], early: NDArray[np.int16]) -> ProxyDensityState:
        found, first = np.unique(rank, return_index=True)
        kept = bottom_k(found, self.references)
        return ProxyDensityState(found[kept], pairs[first[kept]], early[first[kept]])

    def finish(self, state: ProxyDensityState, views: Views) -> ProxyDensityView:
        """Look up every reference's neighbours."""
        width, fold = state.pairs.shape[1] // 2, fold_of(state.rank, FOLDS)
        ks = density.scales(len(state.rank), share_of_all(len(state.rank), views))
        both = joined([measured(state.pairs[:, :width], ks), measured(state.pairs, ks)])
        usual = np.array([_usual(state.early[fold == f]) for f in range(FOLDS)])
        return ProxyDensityView(state.rank, state.pairs, np.array(ks, np.int64), *both, usual)


def _seen(table: pa.Table) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    pairs = np.hstack([embedding.from_column(table, name) for name in ("proxy_embedding", "proxy_target_embedding")])
    return pairs, np.asarray(table.column("proxy_early"), dtype=np.int16)


def _usual(early: NDArray[np.int16]) -> NDArray[np.float64]:
    return np.concatenate(density.usual(early[:, None].astype(np.float64))) if len(early) else np.zeros(2)
