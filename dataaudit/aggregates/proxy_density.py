"""How thin the data is where the proxies see each pair, among those that the same proxy sees, and how little its caption fits."""

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
    """References by `rank` (m,), ascending; pictures and captions, `seen` (2, m, d), and `early` (m,) cosines, all in fixed point."""

    rank: NDArray[np.uint64]
    seen: NDArray[np.int16]
    early: NDArray[np.int16]


@dataclass(frozen=True)
class ProxyDensityView:
    """Two spaces a fold, of pictures and of `pairs` (picture and caption side by side): four one below the other.

    `rank` (n,) is sorted within each `fold` (n,); `reach`, `dimension` and `thinness` (2 n, ...) at `ks` are as in `KnnView`, first of all
    pictures, then of all pairs.  `usual` (2, 2) holds median and robust deviation of the early cosine by fold, in fixed point.
    """

    rank: NDArray[np.uint64]
    fold: NDArray[np.int64]
    pairs: NDArray[np.int16]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]
    usual: NDArray[np.float64]

    def standing_out(self, table: pa.Table) -> NDArray[np.float64]:
        """How far each row stands out of its fold in each of `MEASURES`, shape (n, 3), in robust standard deviations."""
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        seen, early = _seen(table)
        own = fold_of(rank, FOLDS)
        found = np.zeros((len(rank), len(MEASURES)))
        for fold, spaces in enumerate(self._spaces):
            rows = np.flatnonzero(own == fold)
            known = np.full(len(rows), -1)
            row, place = matched(rank[rows], self.rank[self.fold == fold])
            known[row] = place
            for at, space in enumerate(spaces):
                found[rows, at] = space.standing_out(_side_by_side(seen[: at + 1, rows]), known)
        middle, spread = self.usual[own].T
        found[:, -1] = np.where(spread > 0, np.maximum(middle - early, 0) / np.maximum(spread, 1), 0)
        return found

    @cached_property
    def _spaces(self) -> list[list[Space]]:
        number = len(self.rank)
        width = self.pairs.shape[1] // 2
        found = []
        for fold in range(FOLDS):
            rows = np.flatnonzero(self.fold == fold)
            both = ((self.pairs[rows, :width], rows), (self.pairs[rows], number + rows))
            found.append([Space(v, self.ks, self.reach[r], self.dimension[r], self.thinness[r]) for v, r in both])
        return found


@dataclass(frozen=True)
class ProxyDensity:
    """A state of 65,536 references of twice 64 components takes 17 MB."""

    needs: ClassVar[tuple[str, ...]] = ("moments",)
    columns: ClassVar[tuple[str, ...]] = ("proxy_embedding", "proxy_target_embedding", "proxy_early")
    State: ClassVar[type] = ProxyDensityState
    View: ClassVar[type] = ProxyDensityView

    references: int = 65_536

    def start(self, table: pa.Table, views: Views) -> ProxyDensityState:
        """The references among a batch; without a proxy there are none."""
        return self._smallest(np.asarray(table.column("rank"), dtype=np.uint64), *_seen(table))

    def merge(self, a: ProxyDensityState, b: ProxyDensityState) -> ProxyDensityState:
        """The smallest ranks of both."""
        both = np.concatenate([a.rank, b.rank]), np.concatenate([a.seen, b.seen], axis=1), np.concatenate([a.early, b.early])
        return self._smallest(*both)

    def _smallest(self, rank: NDArray[np.uint64], seen: NDArray[np.int16], early: NDArray[np.int16]) -> ProxyDensityState:
        found, first = np.unique(rank, return_index=True)
        kept = bottom_k(found, self.references)
        return ProxyDensityState(found[kept], seen[:, first[kept]], early[first[kept]])

    def finish(self, state: ProxyDensityState, views: Views) -> ProxyDensityView:
        """Look up every reference's neighbours among those of its fold."""
        fold = fold_of(state.rank, FOLDS)
        order = np.argsort(fold, kind="stable")
        rank, seen, early, fold = state.rank[order], state.seen[:, order], state.early[order], fold[order]
        usual = [_usual(early[fold == f]) for f in range(FOLDS)]
        ks = density.scales(int(np.bincount(fold, minlength=FOLDS).min()), share_of_all(len(rank), views))
        parts = [measured(_side_by_side(seen[: at + 1, fold == f]), ks) for at in range(2) for f in range(FOLDS)]
        return ProxyDensityView(rank, fold, _side_by_side(seen), np.array(ks, np.int64), *joined(parts), np.array(usual))


def _seen(table: pa.Table) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    vectors = [embedding.from_column(table, name) for name in ("proxy_embedding", "proxy_target_embedding")]
    return np.stack(vectors), np.asarray(table.column("proxy_early"), dtype=np.int16)


def _usual(early: NDArray[np.int16]) -> NDArray[np.float64]:
    return np.concatenate(density.usual(early[:, None].astype(np.float64))) if len(early) else np.zeros(2)


def _side_by_side(seen: NDArray[np.int16]) -> NDArray[np.int16]:
    """(s, n, d) as (n, s d)."""
    return seen.transpose(1, 0, 2).reshape(seen.shape[1], -1)
