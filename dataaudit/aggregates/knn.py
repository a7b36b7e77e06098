"""Nearest neighbours of any sample among a bounded reference sample: the only module that speaks to FAISS.

The references are the samples of smallest rank, at most `references` of them, each distinct sample once.
Wide embeddings are first projected (by the principal axes of `moments`, else by random signs); the projection is
rounded to whole numbers, so that every product is exact and the same sample has the same reference vector
in any batch.  FAISS proposes neighbours, their distances are then computed again in whole numbers: neither the
batch nor the number of threads shows in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views, density, knn_graph, plan_of
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.features import embedding

AXES = 4096
SPARE = 4
CHUNK = 4096


@dataclass(frozen=True)
class KnnState:
    """Distinct references by rank; `vectors` (n, d) int16, projected from `stored` dimensions; see `off_axes` below."""

    stored: int
    off_axes: NDArray[np.float32]
    rank: NDArray[np.uint64]
    vectors: NDArray[np.int16]
    target: NDArray[np.int32]


@dataclass(frozen=True)
class KnnView:
    """The reference sample, sorted by rank, and each reference's own neighbourhood.

    `axes` (D, d) projects a stored embedding, (0, 0) where it is used as it is.  `near` (n, k) int32 holds the
    positions of each reference's neighbours, nearest first, `distance` (n, k) how far they are (of unit
    vectors: 0 to 2), `off_axes` (n,) the length of what the projection leaves out (0 where nothing is projected).
    `ks` are the numbers of neighbours that density is told by, `reach`, `dimension` (n, s) and `thinness` (n, 3 s) what
    `density` makes of them.  `index` is the serialised FAISS index, empty where search is exact (an exact index is rebuilt from the
    vectors in a moment).  `recall` is the share of the nearest `k` that the lists hold, measured on a sample against an exact search.
    """

    axes: NDArray[np.int32]
    rank: NDArray[np.uint64]
    vectors: NDArray[np.int16]
    target: NDArray[np.int32]
    near: NDArray[np.int32]
    distance: NDArray[np.float32]
    off_axes: NDArray[np.float32]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]
    index: NDArray[np.uint8]
    recall: float

    @cached_property
    def _searcher(self) -> Any:
        import faiss

        return faiss.deserialize_index(self.index) if len(self.index) else exact_index(self.vectors)

    def neighbours(self, table: pa.Table, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Distances and reference positions, each (n, j), of the j = min(k, what there is) nearest other samples.

        A sample of the same rank (the row itself, or its exact copy with the same target) is no neighbour.
        """
        j = min(k, self.near.shape[1])
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        place = np.minimum(np.searchsorted(self.rank, rank), max(len(self.rank) - 1, 0))
        if not j:  # fewer than two distinct samples
            return np.empty((len(rank), 0), np.float32), np.empty((len(rank), 0), np.int64)
        known = self.rank[place] == rank
        distance, near = self.distance[place, :j], self.near[place, :j].astype(np.int64)
        if not known.all():
            unknown = np.flatnonzero(~known)
            vectors = project(embedding.from_column(table)[unknown], self.axes)
            distance[unknown], near[unknown] = nearest(self._searcher, self.vectors, vectors, j)
        return distance, near

    def standing_out(self, table: pa.Table) -> NDArray[np.float64]:
        """How far each row stands out by its surroundings and by what is `unexplained` of it (`density.strength`), shape (n,)."""
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        row, place = matched(rank, self.rank)
        own = np.empty((len(rank), self.thinness.shape[1]))
        own[row] = self.thinness[place]
        unknown = np.setdiff1d(np.arange(len(rank)), row)
        if len(unknown):
            vectors = project(embedding.from_column(table)[unknown], self.axes)
            own[unknown] = thinness(self._searcher, self.vectors, vectors, self.ks, self.reach, self.dimension)
        return density.strength(np.column_stack([own, self.unexplained(table)]), *self._usual)

    @cached_property
    def _usual(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return density.usual(np.column_stack([self.thinness, self.off_axes]))

    def unexplained(self, table: pa.Table) -> NDArray[np.float32]:
        """How much of each row's embedding lies off the axes, shape (n,), 0 to 1."""
        stored = embedding.from_column(table)
        return off_axes(stored, project(stored, self.axes))


@dataclass(frozen=True)
class Knn:
    """Who stands near whom; a state of 65,536 references of 128 dimensions takes 18 MB.

    References find each other by exact search up to `exact` of them, and block by block above (`knn_graph`).  Other samples are compared
    with every reference up to `scanned` of them, and above with those in the nearest cells of an inverted file.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments")
    columns: ClassVar[tuple[str, ...]] = ("embedding", *TARGET_COLUMNS)
    State: ClassVar[type] = KnnState
    View: ClassVar[type] = KnnView

    references: int = 65_536
    neighbours: int = 20
    width: int = 128
    exact: int = 20_000
    scanned: int = 70_000

    def start(self, table: pa.Table, views: Views) -> KnnState:
        """The references among a batch."""
        _, first = np.unique(np.asarray(table.column("rank"), dtype=np.uint64), return_index=True)
        kept = first[: self.references]
        chosen = table.take(pa.array(kept))
        stored = embedding.from_column(chosen)
        rank = np.asarray(chosen.column("rank"), dtype=np.uint64)
        vectors = project(stored, self.axes(stored.shape[1], views))
        return KnnState(stored.shape[1], off_axes(stored, vectors), rank, vectors, views["targets"].index(chosen))

    def merge(self, a: KnnState, b: KnnState) -> KnnState:
        """The smallest ranks of both."""
        if not len(a.rank) or not len(b.rank):
            return a if len(a.rank) else b
        rank, first = np.unique(np.concatenate([a.rank, b.rank]), return_index=True)
        kept = first[bottom_k(rank, self.references)]
        vectors, target = np.concatenate([a.vectors, b.vectors]), np.concatenate([a.target, b.target])
        off = np.concatenate([a.off_axes, b.off_axes])
        return KnnState(a.stored, off[kept], rank[: self.references], vectors[kept], target[kept])

    def finish(self, state: KnnState, views: Views) -> KnnView:
        """Build the index and look up every reference's own neighbours."""
        import faiss

        order = np.argsort(state.rank)
        rank, vectors, target = state.rank[order], state.vectors[order], state.target[order]
        ks = density.scales(len(rank), share_of_all(len(rank), views) if len(rank) == self.references else 1.0)
        most = max([self.neighbours, *ks])
        if len(rank) <= self.exact:
            recall = 1.0
            distance, near = nearest(exact_index(vectors), vectors, vectors, most, own=np.arange(len(rank)))
        else:
            squares, positions = knn_graph.graph(vectors, most)
            near, recall = positions.astype(np.int64), knn_graph.recall(vectors, squares, self.neighbours)
            distance = (np.sqrt(squares) / embedding.SCALE).astype(np.float32)
        index = np.empty(0, np.uint8)
        if len(rank) > self.scanned:
            index = np.asarray(faiss.serialize_index(cell_index(vectors)), dtype=np.uint8)
        reach, dimension = density.surroundings(distance, ks)
        thin = density.measures(distance, near, reach, dimension, ks)
        kept = slice(self.neighbours)
        return KnnView(
            self.axes(state.stored, views),
            rank,
            vectors,
            target,
            near[:, kept].astype(np.int32),
            distance[:, kept],
            state.off_axes[order],
            np.array(ks),
            reach,
            dimension,
            thin,
            index,
            recall,
        )

    def axes(self, stored: int, views: Views) -> NDArray[np.int32]:
        """Whole-number axes (stored, d), or (0, 0) where the embedding is narrow enough to be used as it is."""
        if stored <= 2 * self.width:
            return np.empty((0, 0), np.int32)
        fitted = getattr(views.get("moments"), "projection", np.empty((0, 0), np.float32))
        if fitted.shape[0] == stored and fitted.shape[1]:
            return np.asarray(np.rint(fitted[:, : self.width].astype(np.float64) * AXES), dtype=np.int32)
        seed = int.from_bytes(plan_of(views).key("knn-axes"), "little")
        signs = np.random.default_rng(seed).integers(0, 2, (stored, self.width)) * 2 - 1
        return np.asarray(np.rint(signs * (AXES / np.sqrt(self.width))), dtype=np.int32)


def project(stored: NDArray[np.int16], axes: NDArray[np.int32]) -> NDArray[np.int16]:
    """Stored embeddings (n, D) on the axes (D, d), back in the stored unit; exact, so the same row gives the same bits in any batch."""
    if not axes.size:
        return stored
    exact = stored.astype(np.float64) @ axes.astype(np.float64)
    limit = np.iinfo(np.int16).max
    return np.asarray(np.clip(np.rint(exact / AXES), -limit, limit), dtype=np.int16)


def off_axes(stored: NDArray[np.int16], projected: NDArray[np.int16]) -> NDArray[np.float32]:
    """The length of what a projection on orthonormal axes left out, shape (n,); exact sums, so the same in any batch."""
    if stored.shape == projected.shape:
        return np.zeros(len(stored), np.float32)
    squares = [np.einsum("nd,nd->n", v, v) for v in (stored.astype(np.int64), projected.astype(np.int64))]
    return np.asarray(np.sqrt(np.maximum(squares[0] - squares[1], 0)) / embedding.SCALE, dtype=np.float32)


def share_of_all(references: int, views: Views) -> float:
    """Which share of the data the references are, as far as an earlier view counted it."""
    counted = getattr(views.get("moments"), "counts", np.zeros(0))
    return min(1.0, references / max(float(counted.sum()), 1.0)) if len(counted) else 1.0


def thinness(
    searcher: Any,
    references: NDArray[np.int16],
    queries: NDArray[np.int16],
    ks: NDArray[np.int64],
    reach: NDArray[np.float64],
    dimension: NDArray[np.float64],
) -> NDArray[np.float64]:
    """`density.measures` (n, 3 s) of queries that are no references."""
    numbers = tuple(ks.tolist())
    distance, near = nearest(searcher, references, queries, max(numbers, default=0))
    return density.measures(distance, near, reach, dimension, numbers)


def exact_index(vectors: NDArray[np.int16]) -> Any:
    """Search that compares with every reference."""
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors.astype(np.float32))
    return index


def cell_index(vectors: NDArray[np.int16]) -> Any:
    """An inverted file: search among the references of the nearest k-means cells only (seeded, so always the same cells)."""
    import faiss

    data = vectors.astype(np.float32)
    cells = int(2 * np.sqrt(len(data)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(data.shape[1]), data.shape[1], cells, faiss.METRIC_L2)
    index.train(data[: 64 * cells])
    index.add(data)
    index.nprobe = max(16, cells // 8)
    return index


def nearest(
    searcher: Any, references: NDArray[np.int16], queries: NDArray[np.int16], k: int, own: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k (or all other) nearest references of each query: distances and positions (n, k), nearest first, equals by position.

    `own[i]` is the position of query i itself, left out.  The searcher proposes a few more than k; among these the
    order is by distances in whole numbers.
    """
    k = max(0, min(k, len(references) - (own is not None)))
    distance = np.empty((len(queries), k), np.float32)
    near = np.empty((len(queries), k), np.int64)
    if not k:
        return distance, near
    asked = min(k + 1 + SPARE, len(references))
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        _, found = searcher.search(queries[rows].astype(np.float32), asked)
        squares = squared_distances(queries[rows], references, found)
        squares[(found < 0) | (found == (-1 if own is None else own[rows, None]))] = np.inf
        order = np.lexsort((found, squares))[:, :k]
        near[rows] = np.take_along_axis(found, order, axis=1)
        distance[rows] = np.sqrt(np.take_along_axis(squares, order, axis=1)) / embedding.SCALE
    return distance, near


def squared_distances(queries: NDArray[np.int16], references: NDArray[np.int16], found: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact squared distances (n, j) of queries (n, d) to the references at positions (n, j), in squared stored units."""
    squares, exact = np.empty(found.shape, np.float64), queries.astype(np.float64)
    for column in range(found.shape[1]):
        difference = exact - references[found[:, column]]
        squares[:, column] = np.einsum("nd,nd->n", difference, difference)
    return squares


def hamming_neighbours(codes: NDArray[np.uint64], k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Differing bits and positions, each (n, k), of the k codes nearest to each of n codes (itself among them)."""
    import faiss

    bits = codes.astype("<u8").view(np.uint8).reshape(len(codes), 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(bits)
    distance, near = index.search(bits, min(k, len(codes)))
    return distance, near
