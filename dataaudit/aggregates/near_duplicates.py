"""Which samples are copies or near-copies of each other.

Exact copies share the content's digest.  Near-copies of text share MinHash values (proposed by equal bands,
then verified by the estimated Jaccard similarity: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
chapter 3); near-copies of images have perceptual hashes a few bits apart *and* nearly the same small picture,
because simple pictures collide in the hash alone.  Chains of near-copies are one cluster.

A sample takes 156 bytes or more, so the states of a large data set stay in files, and one after another is opened: in
memory are 30 bytes a sample, the sketches that are compared, and a few bands.

Contents are chosen by a keyed hash of the content alone, so copies with different targets are chosen together:
exact copies among the first `exact` distinct samples, near-copies among the first `near` or `pictures`.  The view
says how many were seen and looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views, knn, plan_of
from dataaudit.aggregates.sorted_arrays import matched, run_starts
from dataaudit.engine.compiled import compiled

GREY = 16
BAND = 4
BANDS_TOGETHER = 8
WITHOUT_WORDS = np.uint64(0xFFFFFFFF)
WINDOW = 8
CHUNK = 16_384
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class NearDuplicatesState:
    """Distinct samples by content, then rank: how often each occurs, and what they look like.

    `sketch` (m, 128) are the low bytes of the MinHash signature, or (m, 264) the perceptual hash and a 16 x 16 grey picture.
    """

    seen: int
    content: NDArray[np.uint64]
    rank: NDArray[np.uint64]
    target: NDArray[np.int32]
    count: NDArray[np.int64]
    sketch: NDArray[np.uint8]


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
    """Exact and near copies.  Texts of a true similarity of `jaccard` are sought: what is estimated lower by up to `error` counts too."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    columns: ClassVar[tuple[str, ...]] = ("minhash", "phash", "thumbnail", *TARGET_COLUMNS)
    State: ClassVar[type] = NearDuplicatesState
    View: ClassVar[type] = NearDuplicatesView

    exact: int = 4_000_000
    near: int = 4_000_000
    pictures: int = 60_000
    jaccard: float = 0.5
    error: float = 0.08
    bits: int = 6
    difference: float = 4.0

    def start(self, table: pa.Table, views: Views) -> NearDuplicatesState:
        """A batch's distinct samples."""
        content = content_hash(table, plan_of(views).key("near-duplicates"))
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        target = views["targets"].index(table)
        return distinct(NearDuplicatesState(len(rank), content, rank, target, np.ones(len(rank), np.int64), sketches(table)))

    def merge(self, a: NearDuplicatesState, b: NearDuplicatesState) -> NearDuplicatesState:
        """The samples of both, copies counted together."""
        return distinct(joined([a, b]))

    def finish(self, state: NearDuplicatesState, views: Views) -> NearDuplicatesView:
        """The view of data that fits one state."""
        return self.finish_parts([state], views)

    def finish_parts(self, parts: Sequence[NearDuplicatesState], views: Views) -> NearDuplicatesView:
        """Propose and verify pairs, join them to clusters, describe the clusters."""
        samples = self.samples(parts)
        contents, first, content = np.unique(samples.content, return_index=True, return_inverse=True)
        pictures = plan_of(views).pictures
        likened = parts[0].sketch.shape[1] > 0
        compared = int(np.searchsorted(first, self.pictures if pictures else self.near)) if likened else 0
        component = np.arange(len(contents))
        places = [placed(part, contents[:compared]) for part in parts]
        if pictures:
            sketch = gathered(parts, places, compared)
            component[:compared] = clusters_of(compared, similar_pictures(sketch, self.bits, self.difference))
        elif likened:
            component[:compared] = similar_texts(gathered(parts, places, compared), self.jaccard - self.error)
        return describe_clusters(samples, content, component, compared)

    def samples(self, parts: Sequence[NearDuplicatesState]) -> NearDuplicatesState:
        """The first `exact` distinct samples of all parts, without their looks.

        A sample that is kept in the end was kept every time before: counts are exact.
        """
        kept: list[NearDuplicatesState] = []
        for part in parts:
            kept.append(picked(replace(part, sketch=np.empty((len(part.rank), 0), np.uint8)), np.arange(len(part.rank))))
            if sum(len(k.rank) for k in kept) > 2 * self.exact:
                kept = [picked(distinct(joined(kept)), slice(self.exact))]
        return picked(distinct(joined(kept)), slice(self.exact))


def joined(parts: Sequence[NearDuplicatesState]) -> NearDuplicatesState:
    """The rows of all parts, one after another."""
    return NearDuplicatesState(
        seen=sum(p.seen for p in parts),
        content=np.concatenate([p.content for p in parts]),
        rank=np.concatenate([p.rank for p in parts]),
        target=np.concatenate([p.target for p in parts]),
        count=np.concatenate([p.count for p in parts]),
        sketch=np.concatenate([p.sketch for p in parts]),
    )


def picked(state: NearDuplicatesState, rows: NDArray[np.int64] | slice) -> NearDuplicatesState:
    """Some rows."""
    return NearDuplicatesState(
        seen=state.seen,
        content=state.content[rows],
        rank=state.rank[rows],
        target=state.target[rows],
        count=state.count[rows],
        sketch=state.sketch[rows],
    )


def distinct(state: NearDuplicatesState) -> NearDuplicatesState:
    """Equal samples counted together, by content, then rank."""
    order = np.lexsort((state.rank, state.content))
    first = run_starts(state.rank[order])
    counted = np.add.reduceat(state.count[order], first, dtype=state.count.dtype)
    return replace(picked(state, order[first]), count=counted)


def placed(part: NearDuplicatesState, contents: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which rows of a part are among the sorted `contents`, and where."""
    rows, place = matched(part.content, contents)
    return rows.astype(np.int32), place.astype(np.int32)


def gathered(
    parts: Sequence[NearDuplicatesState], places: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]], n: int
) -> NDArray[np.uint8]:
    """The sketch of each of n contents; equal contents look the same, whatever part they are taken from."""
    sketch = np.zeros((n, parts[0].sketch.shape[1]), np.uint8)
    for part, (rows, at) in zip(parts, places, strict=True):
        sketch[at] = part.sketch[rows]
    return sketch


def content_hash(table: pa.Table, key: bytes) -> NDArray[np.uint64]:
    """A keyed permutation (the finaliser of splitmix64) of the first 8 bytes of each content digest."""
    digests = bytes.fromhex("".join(table.column("digest").to_pylist()))
    z = np.frombuffer(digests, ">u8")[::2].astype(np.uint64) ^ np.uint64(int.from_bytes(key[:8], "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31)) ^ np.uint64(int.from_bytes(key[8:], "little"))


def sketches(table: pa.Table) -> NDArray[np.uint8]:
    """What near-copies share: `sketch` of a state; no columns for data that has neither text nor pictures."""
    if "minhash" in table.schema.names:
        column = table.column("minhash").combine_chunks()
        array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        return np.asarray(array.flatten(), dtype=np.uint32).astype(np.uint8).reshape(len(table), array.type.list_size)
    if not {"phash", "thumbnail"} <= set(table.schema.names):
        return np.empty((len(table), 0), np.uint8)
    codes = np.asarray(table.column("phash"), dtype="<u8").reshape(-1, 1).view(np.uint8)
    pixels = np.frombuffer(b"".join(table.column("thumbnail").to_pylist()), np.uint8).reshape(len(table), 32, 32, 3)
    small = pixels.astype(np.uint32).reshape(len(table), GREY, 2, GREY, 2, 3).sum(axis=(2, 4, 5)) // 12
    return np.concatenate([codes, small.astype(np.uint8).reshape(len(table), GREY * GREY)], axis=1)


def banded(sketch: NDArray[np.uint8]) -> Iterator[NDArray[np.uint32]]:
    """64 times (n,): every value in two bands of four, one of neighbours and one of values 32 apart; a band is its low bytes.

    Both together propose 98 in 100 pairs of similarity 0.5 and 81 in 100 of 0.4; the first alone 87 and 56.  Four equal values
    have equal low bytes; of four others one in 2**32 has.
    """
    n, width = sketch.shape
    neighbours = sketch.reshape(n, width // BAND, BAND)
    apart = sketch.reshape(n, BAND, width // BAND).swapaxes(1, 2)
    for grouped in (neighbours, apart):
        for at in range(0, width // BAND, BANDS_TOGETHER):
            yield from np.ascontiguousarray(grouped[:, at : at + BANDS_TOGETHER].swapaxes(0, 1)).view(np.uint32)[..., 0]


def similar_texts(sketch: NDArray[np.uint8], least: float) -> NDArray[np.int64]:
    """The cluster of each of n texts, numbered by first member: texts with a common band are joined where `least` of their values agree.

    The low byte stands for a value, which makes one in 256 unequal values look equal (Li and Koenig, "b-bit minwise
    hashing", 2010).
    """
    text = np.arange(len(sketch), dtype=np.uint64)
    parent = text.astype(np.int32)
    for band in banded(sketch):
        keyed = np.sort(band.astype(np.uint64) << np.uint64(32) | text)
        compiled(_join)(keyed, sketch, int(np.ceil(least * sketch.shape[1])), parent)
    return np.unique(compiled(_roots)(parent), return_inverse=True)[1].astype(np.int64)


def _join(keyed: NDArray[np.uint64], sketch: NDArray[np.uint8], least: int, parent: NDArray[np.int32]) -> None:
    """Join texts of one band: `keyed` is sorted, the band in the high half and the text in the low one.

    Within a bucket each text is compared with the bucket's first and with the few before it, so boilerplate costs no
    more than other data; what is joined already is not compared again, so neither does a flood.
    """
    start = 0
    for i in range(1, len(keyed)):
        if keyed[i] >> np.uint64(32) != keyed[start] >> np.uint64(32):
            start = i
        if i == start or keyed[i] >> np.uint64(32) == WITHOUT_WORDS:
            continue
        this = np.int64(keyed[i] & np.uint64(0xFFFFFFFF))
        for back in range(WINDOW + 1):
            j = start if back == WINDOW else i - 1 - back
            if j < start:
                continue
            other = np.int64(keyed[j] & np.uint64(0xFFFFFFFF))
            a, b = this, other
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = np.int64(parent[a])
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = np.int64(parent[b])
            if a == b:
                continue
            agree = 0
            for k in range(sketch.shape[1]):
                agree += sketch[this, k] == sketch[other, k]
            if agree >= least:
                parent[max(a, b)] = min(a, b)


def _roots(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """The first member of each one's cluster; a parent never comes after its child."""
    root = parent.copy()
    for i in range(len(root)):
        root[i] = root[root[i]]
    return root


def similar_pictures(sketch: NDArray[np.uint8], bits: int, difference: float, near: int = 32) -> Pairs:
    """Pairs whose hashes differ in at most `bits` bits and whose pictures differ by at most `difference` grey levels on average.

    The overall brightness is taken out first, and no difference above a quarter of the contrast counts as alike.
    So re-encoded, brightened or noisy copies are found; shifted, rotated or cropped ones are not.  Only the `near`
    nearest hashes of each picture are compared, so that a flood costs no more than other data.
    """
    codes = np.ascontiguousarray(sketch[:, :8]).view(np.uint64).ravel()
    pictures = sketch[:, 8:].astype(np.float32)
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
