"""Which samples are copies or near-copies of each other.

Exact copies share the content's digest.  Near-copies of text share MinHash values (proposed by equal bands,
then verified by the estimated Jaccard similarity: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
chapter 3); near-copies of images have perceptual hashes a few bits apart *and* nearly the same small picture,
because simple pictures collide in the hash alone.  Chains of near-copies are one cluster.

Contents are chosen by a keyed hash of the content alone, so copies with different targets are chosen together:
exact copies among the first `exact` distinct samples, near-copies among the first `near`.  The view says how
many were seen and looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, knn, plan_of

GREY = 16
BAND = 4
CHUNK = 16_384
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicatesState:
    """Distinct samples by content, then rank: how often each occurs, and what the first `len(sketch)` look like.

    `sketch` (m, 128) uint32 is the MinHash signature, or (m, 66): the perceptual hash and a 16 x 16 grey picture.
    """

    seen: int
    content: NDArray[np.uint64]
    rank: NDArray[np.uint64]
    target: NDArray[np.int32]
    count: NDArray[np.int64]
    sketch: NDArray[np.uint32]


@dataclass(frozen=True)
class NearDuplicatesView:
    """The clusters of two or more samples.

    `rank` (n,) is sorted; `cluster` (n,) numbers the cluster of each, `agreement` (n,) is the share of the cluster
    with the sample's target.  One value a cluster: `size` in samples, `contents` distinct, `copies` of its most
    repeated sample, `targets` distinct, `majority` target.  `seen` samples were counted, `looked_at` of them
    compared exactly, `compared` distinct contents compared for likeness.
    """

    seen: int
    looked_at: int
    compared: int
    rank: NDArray[np.uint64]
    cluster: NDArray[np.int32]
    agreement: NDArray[np.float32]
    size: NDArray[np.int64]
    contents: NDArray[np.int64]
    copies: NDArray[np.int64]
    targets: NDArray[np.int64]
    majority: NDArray[np.int32]

    def place(self, table: pa.Table) -> NDArray[np.int64]:
        """Where each row stands in `rank`, -1 where it has no copy."""
        wanted = np.asarray(table.column("rank"), dtype=np.uint64)
        if not len(self.rank):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.rank, wanted), len(self.rank) - 1)
        return np.where(self.rank[at] == wanted, at, -1)


@dataclass(frozen=True)
class NearDuplicates:
    """Exact and near copies; a state of the default size takes at most 60 MB."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    columns: ClassVar[tuple[str, ...]] = ("minhash", "phash", "thumbnail", "target_embedding")
    State: ClassVar[type] = NearDuplicatesState
    View: ClassVar[type] = NearDuplicatesView

    exact: int = 1_000_000
    near: int = 60_000
    jaccard: float = 0.5
    bits: int = 6
    difference: float = 4.0

    def start(self, table: pa.Table, views: Views) -> NearDuplicatesState:
        """A batch's distinct samples."""
        content = content_hash(table, plan_of(views).key("near-duplicates"))
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        target = views["targets"].index(table)
        return self.distinct(len(rank), content, rank, target, np.ones(len(rank), np.int64), sketches(table))

    def merge(self, a: NearDuplicatesState, b: NearDuplicatesState) -> NearDuplicatesState:
        """The samples of both, copies counted together."""
        widest = max(a.sketch.shape[1], b.sketch.shape[1])
        sketch = np.zeros((len(a.rank) + len(b.rank), widest), np.uint32)
        for part, start in ((a.sketch, 0), (b.sketch, len(a.rank))):
            sketch[start : start + len(part), : part.shape[1]] = part
        content, rank = np.concatenate([a.content, b.content]), np.concatenate([a.rank, b.rank])
        target, count = np.concatenate([a.target, b.target]), np.concatenate([a.count, b.count])
        return self.distinct(a.seen + b.seen, content, rank, target, count, sketch)

    def distinct(
        self,
        seen: int,
        content: NDArray[np.uint64],
        rank: NDArray[np.uint64],
        target: NDArray[np.int32],
        count: NDArray[np.int64],
        sketch: NDArray[np.uint32],
    ) -> NearDuplicatesState:
        """Join equal samples and keep the smallest.  A sample kept here was kept by both sides before: counts stay exact."""
        order = np.lexsort((rank, content))
        first = np.flatnonzero(np.r_[True, np.diff(rank[order].view(np.int64)) != 0][: len(order)])
        kept = order[first][: self.exact]
        total = np.add.reduceat(count[order], first) if len(first) else count
        return NearDuplicatesState(seen, content[kept], rank[kept], target[kept], total[: self.exact], sketch[kept[: self.near]])

    def finish(self, state: NearDuplicatesState, views: Views) -> NearDuplicatesView:
        """Propose and verify pairs, join them to clusters, describe the clusters."""
        _, first, content = np.unique(state.content, return_index=True, return_inverse=True)
        shown = first[first < len(state.sketch)]
        sketch = state.sketch[shown]
        if sketch.shape[1] == 0:
            pairs = np.empty((0, 2), np.int64)
        elif "images" in plan_of(views).modality:
            pairs = similar_pictures(sketch, self.bits, self.difference)
        else:
            pairs = similar_texts(sketch, self.jaccard)
        return describe_clusters(state, content, clusters_of(len(first), pairs), len(shown) if sketch.shape[1] else 0)


def content_hash(table: pa.Table, key: bytes) -> NDArray[np.uint64]:
    """A keyed permutation (the finaliser of splitmix64) of the first 8 bytes of each content digest."""
    digests = bytes.fromhex("".join(table.column("digest").to_pylist()))
    z = np.frombuffer(digests, ">u8")[::2].astype(np.uint64) ^ np.uint64(int.from_bytes(key[:8], "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31)) ^ np.uint64(int.from_bytes(key[8:], "little"))


def sketches(table: pa.Table) -> NDArray[np.uint32]:
    """What near-copies share, one row of uint32 a sample; no columns for data that has neither text nor pictures."""
    if "minhash" in table.schema.names:
        column = table.column("minhash").combine_chunks()
        array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        return np.asarray(array.flatten(), dtype=np.uint32).reshape(len(table), array.type.list_size)
    if not {"phash", "thumbnail"} <= set(table.schema.names):
        return np.empty((len(table), 0), np.uint32)
    codes = np.asarray(table.column("phash"), dtype="<u8").reshape(-1, 1).view("<u4")
    pixels = np.frombuffer(b"".join(table.column("thumbnail").to_pylist()), np.uint8).reshape(len(table), 32, 32, 3)
    small = pixels.astype(np.uint32).reshape(len(table), GREY, 2, GREY, 2, 3).sum(axis=(2, 4, 5)) // 12
    return np.concatenate([codes, small.astype(np.uint8).reshape(len(table), GREY * GREY).view("<u4")], axis=1).astype(np.uint32)


def similar_texts(signatures: NDArray[np.uint32], jaccard: float) -> Pairs:
    """Pairs (p, 2) whose estimated Jaccard similarity reaches `jaccard`, among those that share a band of 4 values.

    32 bands propose 87 in 100 pairs of similarity 0.5, 99 in 100 of 0.6.  Within a band's bucket each text is compared with the
    bucket's first and with the one before it: linear, however large a flood is.
    """
    rows = np.flatnonzero((signatures != np.iinfo(np.uint32).max).any(axis=1))
    proposed = [np.empty((0, 2), np.int64)]
    for band in range(0, signatures.shape[1], BAND):
        values = np.ascontiguousarray(signatures[rows, band : band + BAND])
        _, bucket = np.unique(values.view(f"V{4 * BAND}").ravel(), return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        same = np.flatnonzero(bucket[order][1:] == bucket[order][:-1]) + 1
        starts = np.flatnonzero(np.r_[True, bucket[order][1:] != bucket[order][:-1]])
        leader = starts[np.searchsorted(starts, same, "right") - 1]
        proposed += [np.column_stack([rows[order[other]], rows[order[same]]]) for other in (leader, same - 1)]
    pairs = np.unique(np.concatenate(proposed), axis=0)
    alike = [
        np.mean(signatures[part[:, 0]] == signatures[part[:, 1]], axis=1) >= jaccard
        for part in np.array_split(pairs, max(1, len(pairs) // CHUNK))
    ]
    return np.asarray(pairs[np.concatenate(alike)], dtype=np.int64)


def similar_pictures(sketch: NDArray[np.uint32], bits: int, difference: float, near: int = 32) -> Pairs:
    """Pairs whose hashes differ in at most `bits` bits and whose pictures differ by at most `difference` grey levels on average.

    The overall brightness is taken out first, and no difference above a quarter of the contrast counts as alike.
    So re-encoded, brightened or noisy copies are found; shifted, rotated or cropped ones are not.  Only the `near`
    nearest hashes of each picture are compared, so that a flood costs no more than other data.
    """
    codes = np.ascontiguousarray(sketch[:, :2]).view(np.uint64).ravel()
    pictures = np.ascontiguousarray(sketch[:, 2:]).view(np.uint8).astype(np.float32)
    pictures -= pictures.mean(axis=1, keepdims=True)
    distance, found = knn.hamming_neighbours(codes, near) if len(codes) else (np.empty((0, 0)), np.empty((0, 0), np.int64))
    left, column = np.nonzero(distance <= bits)
    pairs = np.column_stack([left, found[left, column]])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    limit = np.minimum(difference, pictures.std(axis=1) / 4)
    alike = [
        np.mean(np.abs(pictures[part[:, 0]] - pictures[part[:, 1]]), axis=1) <= limit[part].min(axis=1)
        for part in np.array_split(pairs, max(1, len(pairs) // CHUNK))
    ]
    return np.asarray(pairs[np.concatenate(alike)], dtype=np.int64)


def clusters_of(n: int, pairs: Pairs) -> NDArray[np.int64]:
    """The connected component of each of n contents, numbered by first member."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def describe_clusters(
    state: NearDuplicatesState, content: NDArray[np.int64], component: NDArray[np.int64], compared: int
) -> NearDuplicatesView:
    """The view: clusters of two or more samples, numbered from the largest."""
    component = component[content]
    total = np.bincount(component, state.count).astype(np.int64)
    by_size = np.argsort(-total, kind="stable")
    by_size = by_size[total[by_size] > 1]
    number = np.full(len(total), -1)
    number[by_size] = np.arange(len(by_size))
    rows = np.flatnonzero(number[component] >= 0)
    rows = rows[np.argsort(state.rank[rows])]
    cluster, target, count = number[component[rows]], state.target[rows], state.count[rows]
    copies = np.zeros(len(by_size), np.int64)
    np.maximum.at(copies, cluster, count)
    distinct = np.unique(np.column_stack([cluster, content[rows]]), axis=0)[:, 0]
    said, where = np.unique(np.column_stack([cluster, target]), axis=0, return_inverse=True)
    share = np.bincount(where.ravel(), count, len(said))
    majority = np.zeros(len(by_size), np.int32)
    order = np.argsort(share, kind="stable")
    majority[said[order, 0]] = said[order, 1]
    return NearDuplicatesView(
        seen=state.seen,
        looked_at=int(state.count.sum()),
        compared=compared,
        rank=state.rank[rows],
        cluster=cluster.astype(np.int32),
        agreement=(share[where.ravel()] / np.maximum(total[by_size][cluster], 1)).astype(np.float32),
        size=total[by_size],
        contents=np.bincount(distinct, minlength=len(by_size)).astype(np.int64),
        copies=copies,
        targets=np.bincount(said[:, 0], minlength=len(by_size)).astype(np.int64),
        majority=majority,
    )
