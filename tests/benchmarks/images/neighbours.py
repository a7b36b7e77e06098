"""The exact k nearest neighbours of one benchmark cell, made from those of the clean data where few rows changed.

Euclidean distances; of unit vectors d^2 = 2 - 2 cos, so the order is that of cosine similarity too.  FAISS proposes
neighbours by float32 matrix products, whose rounding hides distances below about 4e-4; the distances of the proposed
pairs are then computed again from differences in float64, and order them.  So the k nearest are exact up to pairs that
differ by less than float32 can tell *at the last spare place*, and they do not depend on how the search was split up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

SPARE = 16
BLOCK = 4096
ROUNDING = 1e-5


@dataclass(frozen=True)
class Graph:
    """`near` (n, m) int32 are each row's neighbours, nearest first (equals by position), itself left out; `distance` (n, m) float32.

    The first `k` columns are for use, the others are spare for `replace`.  A list that has lost neighbours is filled up
    with -1 at infinite distance, never within the first `k` columns.  `k` is at most n - 1.
    """

    vectors: NDArray[np.float32]
    near: NDArray[np.int32]
    distance: NDArray[np.float32]
    k: int

    @classmethod
    def build(cls, vectors: NDArray[np.float32], k: int, spare: int = SPARE, threads: int = 1) -> Graph:
        """The neighbours of every one of `vectors` (n, d)."""
        data = np.ascontiguousarray(vectors, dtype=np.float32)
        k = min(k, len(data) - 1)
        near, distance = search(data, np.arange(len(data)), min(k + spare, len(data) - 1), threads)
        return cls(data, near, distance, k)

    @classmethod
    def kept(cls, path: Path, vectors: NDArray[np.float32], k: int) -> Graph:
        """The graph of these vectors that lies there; built and kept where there is none."""
        if path.exists():
            return cls.load(path, vectors)
        graph = cls.build(vectors, k)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        graph.save(temporary)
        temporary.replace(path)
        return graph

    def replace(self, rows: NDArray[np.integer], new_vectors: NDArray[np.float32], threads: int = 1) -> Graph:
        """The graph of the same data with other vectors at `rows`; costs a search for these rows and for lists that ran short.

        A list is known as far as its last neighbour.  So the changed rows that are nearer than that are merged in, the
        others cannot be among the known, and a list that keeps fewer than `k` neighbours is searched for anew.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(np.unique(rows)) != len(rows) or len(rows) != len(new_vectors):
            raise ValueError(f"rows must be distinct, one for each new vector; got {len(rows)} rows and {len(new_vectors)} vectors")
        data = self.vectors.copy()
        data[rows] = new_vectors
        changed = np.zeros(len(data), bool)
        changed[rows] = True
        near, distance = self._merged(data, changed, threads)
        stale = np.flatnonzero(changed | (near[:, self.k - 1] < 0)) if self.k else rows
        near[stale], distance[stale] = search(data, stale, near.shape[1], threads)
        return Graph(data, near, distance, self.k)

    def save(self, path: Path) -> None:
        """Keep everything but the vectors as .npz."""
        np.savez(path, near=self.near, distance=self.distance, k=self.k)

    @classmethod
    def load(cls, path: Path, vectors: NDArray[np.float32]) -> Graph:
        """What `save` kept, of the same `vectors`; refuses others of another number with ValueError."""
        with np.load(path) as kept:
            near, distance, k = kept["near"], kept["distance"], int(kept["k"])
        if len(near) != len(vectors):
            raise ValueError(f"{path} holds the neighbours of {len(near)} vectors, not of {len(vectors)}; build the graph anew")
        return cls(np.ascontiguousarray(vectors, dtype=np.float32), near, distance, k)

    def _merged(self, data: NDArray[np.float32], changed: NDArray[np.bool_], threads: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Lists without their changed members, and with the changed rows that are near enough; the changed rows' own are left."""
        near, distance = self.near.copy(), self.distance.copy()
        known = np.where(np.isfinite(distance), distance, -np.inf).max(axis=1, initial=-np.inf)
        lost = changed[near] & (near >= 0)
        row, new, apart = _within(data, np.flatnonzero(~changed), np.flatnonzero(changed), known, threads)
        touched = np.zeros(len(near), bool)
        touched[row] = True
        touched |= lost.any(axis=1)
        touched &= ~changed
        kept_row, kept_column = np.nonzero(touched[:, None] & ~lost & (near >= 0))
        rows = np.concatenate([kept_row, row])
        members = np.concatenate([near[kept_row, kept_column], new])
        away = np.concatenate([distance[kept_row, kept_column], apart])
        order = np.lexsort((members, away, rows))
        rows, members, away = rows[order], members[order], away[order]
        column = np.arange(len(rows)) - np.searchsorted(rows, rows)
        near[touched], distance[touched] = -1, np.inf
        fits = column < near.shape[1]
        near[rows[fits], column[fits]], distance[rows[fits], column[fits]] = members[fits], away[fits]
        return near, distance


def search(data: NDArray[np.float32], rows: NDArray[np.integer], m: int, threads: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The `m` nearest other rows of `data` to each of `rows`: positions and distances (len(rows), m)."""
    import faiss

    near = np.empty((len(rows), m), np.int32)
    distance = np.empty((len(rows), m), np.float32)
    if not len(rows) or not m:
        return near, distance
    index = faiss.IndexFlatL2(data.shape[1])
    index.add(data)
    before = faiss.omp_get_max_threads()
    with threadpool_limits(threads):
        faiss.omp_set_num_threads(threads)
        try:
            for at in range(0, len(rows), BLOCK):
                part = rows[at : at + BLOCK]
                _, found = index.search(data[part], m + 1)
                near[at : at + BLOCK], distance[at : at + BLOCK] = _ordered(data, part, found, m)
        finally:
            faiss.omp_set_num_threads(before)
    return near, distance


def _ordered(
    data: NDArray[np.float32], rows: NDArray[np.integer], found: NDArray[np.int64], m: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Proposals (n, m + 1) by true distance, each row itself (or the farthest, where its copies hide it) left out."""
    apart = apart_of(data, np.repeat(rows, found.shape[1]), found.ravel()).reshape(found.shape)
    apart[found == rows[:, None]] = np.inf
    order = np.lexsort((found, apart))[:, :m]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(apart, order, axis=1)


def _within(
    data: NDArray[np.float32], rows: NDArray[np.intp], others: NDArray[np.intp], reach: NDArray[np.float32], threads: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """All pairs (row, other) that are no further apart than the row's reach, and their distances."""
    found_rows, found_others = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    squares = np.einsum("nd,nd->n", data, data)
    with threadpool_limits(threads):
        for at in range(0, len(rows), BLOCK):
            part = rows[at : at + BLOCK]
            squared = squares[part, None] + squares[None, others] - 2 * (data[part] @ data[others].T)
            slack = ROUNDING * (squares[part] + squares[others].max(initial=0))
            row, other = np.nonzero(squared <= (np.maximum(reach[part], 0) ** 2 + slack)[:, None])
            found_rows.append(part[row])
            found_others.append(others[other])
    row, other = np.concatenate(found_rows), np.concatenate(found_others)
    apart = apart_of(data, row, other)
    near = apart <= reach[row]
    return row[near], other[near], apart[near]


@njit(fastmath={"reassoc", "contract"})
def apart_of(data: NDArray[np.float32], rows: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.float32]:
    """Euclidean distances of pairs of rows, summed in float64."""
    out = np.empty(len(rows), np.float32)
    for i in range(len(rows)):
        a, b = data[rows[i]], data[others[i]]
        total = 0.0
        for j in range(data.shape[1]):
            total += (np.float64(a[j]) - np.float64(b[j])) ** 2
        out[i] = np.sqrt(total)
    return out
