"""How thin the data is around each caption, and around each picture and caption together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, density
from dataaudit.aggregates.knn import KnnView, project, share_of_all
from dataaudit.aggregates.pair_regression import pairs
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.aggregates.spaces import Space, joined, measured


@dataclass(frozen=True)
class PairDensityState:
    """Captions (m, e) int16 along their axes of the references `at` (m,), ascending, of `knn`."""

    at: NDArray[np.int64]
    caption: NDArray[np.int16]


@dataclass(frozen=True)
class PairDensityView:
    """Two spaces: `captions` (u, e), each distinct one once, since any number may say the same; and `pairs` (n, d + e), picture and
    caption side by side, of the references `rank` (n,), ascending.  `caption` (n,) is the place of each one's caption.

    `reach` and `dimension` (u + n, s), `thinness` (u + n, 3 s), at `ks` (s,), are as in `KnnView`: first the captions', then the pairs'.
    """

    axes: NDArray[np.int32]
    caption_axes: NDArray[np.int32]
    rank: NDArray[np.uint64]
    captions: NDArray[np.int16]
    caption: NDArray[np.int64]
    pairs: NDArray[np.int16]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]

    def standing_out(self, table: pa.Table) -> NDArray[np.float64]:
        """How far each row stands out in the space in which it does most, shape (n,); 0 without a caption."""
        picture, caption = pairs(table, self.axes)
        there = caption.any(axis=1)
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        known = np.full((2, len(rank)), -1)
        row, place = matched(rank, self.rank)
        known[:, row] = self.caption[place], place
        said = project(caption.astype(np.int16), self.caption_axes)
        asked = (said, np.hstack([picture, said]).astype(np.int16))
        found = [space.standing_out(*both) for space, *both in zip(self._spaces, asked, known, strict=True)]
        return np.where(there, np.max(found, axis=0), 0.0)

    @cached_property
    def _spaces(self) -> list[Space]:
        number = len(self.captions)
        return [
            Space(vectors, self.ks, self.reach[rows], self.dimension[rows], self.thinness[rows])
            for vectors, rows in ((self.captions, slice(number)), (self.pairs, slice(number, None)))
        ]


@dataclass(frozen=True)
class PairDensity:
    """Captions of at most as many references as `knn` has: 17 MB of state."""

    needs: ClassVar[tuple[str, ...]] = ("moments", "knn", "pair_regression")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")
    State: ClassVar[type] = PairDensityState
    View: ClassVar[type] = PairDensityView

    def start(self, table: pa.Table, views: Views) -> PairDensityState:
        """The captions of the references in a batch."""
        row, at = matched(np.asarray(table.column("rank"), dtype=np.uint64), views["knn"].rank)
        _, caption = pairs(table.take(pa.array(row)), np.empty((0, 0), np.int32))
        there = caption.any(axis=1)
        return _distinct(at[there].astype(np.int64), project(caption[there].astype(np.int16), views["pair_regression"].caption_axes))

    def merge(self, a: PairDensityState, b: PairDensityState) -> PairDensityState:
        """All of both; equal ranks have equal captions."""
        return _distinct(np.concatenate([a.at, b.at]), np.concatenate([a.caption, b.caption]))

    def finish(self, state: PairDensityState, views: Views) -> PairDensityView:
        """Look up the neighbours of every reference in both spaces."""
        knn: KnnView = views["knn"]
        captions, caption = np.unique(state.caption, axis=0, return_inverse=True)
        ks = density.scales(len(captions), share_of_all(len(knn.rank), views))
        both = np.hstack([knn.vectors[state.at], state.caption])
        reach, dimension, thin = joined([measured(captions, ks), measured(both, ks)])
        return PairDensityView(
            knn.axes,
            views["pair_regression"].caption_axes,
            knn.rank[state.at],
            captions,
            caption.reshape(-1).astype(np.int64),
            both,
            np.array(ks, np.int64),
            reach,
            dimension,
            thin,
        )


def _distinct(at: NDArray[np.int64], caption: NDArray[np.int16]) -> PairDensityState:
    found, first = np.unique(at, return_index=True)
    return PairDensityState(found, caption[first])
