"""The k nearest neighbours of every point among all others, built block by block.

Points are sorted by the k-means cell that they lie in, so that two neighbouring cells are two slices of one matrix, and all distances
between them are one matrix product, of which both sides take what is near them.  Where points have many dimensions, the products are of
their leading principal components; the nearest by these are then compared in full.  The memory on top of the points is the components, the
lists and one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataaudit.engine.compiled import compiled

Floats = NDArray[np.float32]
ROUNDED = 8
"""Proposals beyond k where products are of all dimensions, for what rounding hides."""


@dataclass(frozen=True)
class Effort:
    """How hard to look: more finds more and takes longer.

    There are about `cell` points in a cell, and each cell is compared with its `probes` nearest, by `components` dimensions; cells are
    made by `coarse` of these, in `rounds` of k-means of `training` points a cell.  Of each point `spare` times k others are then
    compared in full, and at last, `walks` times, the `steps` nearest of its `steps` nearest.
    """

    cell: int = 160
    probes: int = 128
    components: int = 192
    coarse: int = 32
    rounds: int = 6
    training: int = 24
    spare: float = 2.0
    walks: int = 2
    steps: int = 20


def graph(points: NDArray[np.int16], k: int, effort: Effort = Effort(), seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Squared distances and positions, each (n, k), of the k nearest others of each of `points` (n, d), n > k.

    Nearest first, then by position.  Distances are exact, whole numbers; which points are found is not.
    """
    narrow, squares = components(points, effort.components, seed)
    centres, cell = cells(narrow[:, : effort.coarse], max(1, len(points) // effort.cell), effort, seed)
    order = np.argsort(cell, kind="stable").astype(np.int32)
    bounds = np.searchsorted(cell[order], np.arange(len(centres) + 1))
    whole = narrow.shape[1] == points.shape[1]
    kept = min(len(points) - 1, k + ROUNDED if whole else int(effort.spare * k))
    near = blocks(narrow[order], squares[order], bounds, pairs_of_cells(centres, effort.probes), kept)
    sorted_points = points[order]
    distance, found = np.full((len(points), k), np.iinfo(np.int64).max), np.full((len(points), k), -1, np.int32)
    compiled(_compare)(sorted_points, near, order, distance, found)
    fresh = np.ones(found.shape, np.bool_)
    for _ in range(effort.walks):
        compiled(_walk)(sorted_points, order, min(k, effort.steps), distance, found, fresh)
    place = np.argsort(order)
    return distance[place], order[found[place]]


def recall(points: NDArray[np.int16], distance: NDArray[np.int64], k: int, rows: int = 256) -> float:
    """Which share of the k nearest of the first `rows` points is in their lists, compared with a search among all points."""
    asked = points[:rows].astype(np.float64)
    every = points.astype(np.float64)  # whole numbers, so that products and sums are exact
    squares = np.einsum("nd,nd->n", every, every)
    exact = squares[: len(asked), None] + squares - 2 * asked @ every.T
    np.fill_diagonal(exact, np.inf)
    farthest = np.partition(exact, k - 1, axis=1)[:, k - 1]
    return float((distance[: len(asked), :k] <= farthest[:, None]).mean())


def components(points: NDArray[np.int16], most: int, seed: int) -> tuple[Floats, Floats]:
    """The points from their middle on, on the axes along which they vary most, (n, most), and their squared lengths before that (n,)."""
    rng = np.random.default_rng(seed)
    sample = points[np.sort(rng.choice(len(points), min(len(points), 10_000), replace=False))].astype(np.float32)
    middle = sample.mean(axis=0)
    axes = np.eye(points.shape[1], dtype=np.float32)
    if points.shape[1] > most:
        sample -= middle
        axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))[1][:, ::-1][:, :most].astype(np.float32)
    narrow, squares = np.empty((len(points), axes.shape[1]), np.float32), np.empty(len(points), np.float32)
    for at in range(0, len(points), 4096):
        part = points[at : at + 4096] - middle
        squares[at : at + 4096] = np.einsum("nd,nd->n", part, part)
        narrow[at : at + 4096] = part @ axes
    return narrow, squares


def cells(points: Floats, count: int, effort: Effort, seed: int) -> tuple[Floats, NDArray[np.int32]]:
    """k-means: centres (count, d) and the cell of each point."""
    rng = np.random.default_rng(seed)
    sample = points[rng.choice(len(points), min(len(points), effort.training * count), replace=False)]
    centres = sample[:count].copy()
    for _ in range(effort.rounds):
        own = assigned(sample, centres)
        order = np.argsort(own, kind="stable")
        first = np.searchsorted(own[order], np.arange(count))
        size = np.bincount(own, minlength=count)
        there = size > 0
        centres[there] = np.add.reduceat(sample[order], first[there], axis=0) / size[there, None]
    return centres, assigned(points, centres)


def assigned(points: Floats, centres: Floats, rows: int = 4096) -> NDArray[np.int32]:
    """The nearest centre of each point."""
    own = np.empty(len(points), np.int32)
    half = np.einsum("cd,cd->c", centres, centres) / 2
    for at in range(0, len(points), rows):
        product = points[at : at + rows] @ centres.T
        product -= half
        own[at : at + rows] = product.argmax(axis=1)
    return own


def pairs_of_cells(centres: Floats, probes: int) -> NDArray[np.int64]:
    """Each pair (a, b), a <= b, of which one is among the other's nearest, itself included, shape (m, 2)."""
    half = np.einsum("cd,cd->c", centres, centres) / 2
    near = np.argpartition(half - centres @ centres.T, min(probes, len(centres)) - 1, axis=1)[:, :probes]
    pairs = np.column_stack([np.repeat(np.arange(len(centres)), near.shape[1]), near.ravel()])
    pairs = np.concatenate([pairs, np.column_stack([np.arange(len(centres))] * 2)])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def blocks(points: Floats, squares: Floats, bounds: NDArray[np.int64], pairs: NDArray[np.int64], kept: int) -> NDArray[np.int32]:
    """The `kept` best of each point by the products of the cells' pairs, (n, kept), in no order; -1 where there are fewer."""
    score = np.full((len(points), kept), np.float32(np.inf))
    near = np.full((len(points), kept), -1, np.int32)
    update = compiled(_update)
    for a, b in pairs.tolist():
        first, second = slice(bounds[a], bounds[a + 1]), slice(bounds[b], bounds[b + 1])
        update(points[first] @ points[second].T, squares, first.start, second.start, score, near)
    return near


def _update(product: Floats, squares: Floats, first: int, second: int, score: Floats, near: NDArray[np.int32]) -> None:
    """Offer each side of a block to the other: heaps with the worst on top."""
    kept = score.shape[1]
    for i in range(product.shape[0]):
        a = first + i
        begin = i + 1 if first == second else 0
        for j in range(begin, product.shape[1]):
            b = second + j
            doubled = np.float32(2) * product[i, j]
            for turn in range(2):
                to, other = (a, b) if turn == 0 else (b, a)
                value = squares[other] - doubled
                if value < score[to, 0]:
                    at = 0
                    while True:
                        child = 2 * at + 1
                        if child >= kept:
                            break
                        if child + 1 < kept and score[to, child + 1] > score[to, child]:
                            child += 1
                        if score[to, child] <= value:
                            break
                        score[to, at], near[to, at] = score[to, child], near[to, child]
                        at = child
                    score[to, at], near[to, at] = value, other


def _compare(
    points: NDArray[np.int16], near: NDArray[np.int32], order: NDArray[np.int32], distance: NDArray[np.int64], found: NDArray[np.int32]
) -> None:
    """Exact distances to what was proposed, the least of them in order; `order` tells where a point stood before they were sorted."""
    k = found.shape[1]
    for i in range(len(points)):
        for c in range(near.shape[1]):
            other = near[i, c]
            if other < 0:
                continue
            total = np.int64(0)
            for d in range(points.shape[1]):
                gap = np.int32(points[i, d]) - np.int32(points[other, d])
                total += np.int64(np.uint32(gap * gap))  # below 2 ** 32, whatever the points are
            at = k
            while at > 0 and (distance[i, at - 1] > total or (distance[i, at - 1] == total and order[found[i, at - 1]] > order[other])):
                if at < k:
                    distance[i, at], found[i, at] = distance[i, at - 1], found[i, at - 1]
                at -= 1
            if at < k:
                distance[i, at], found[i, at] = total, other


def _walk(
    points: NDArray[np.int16],
    order: NDArray[np.int32],
    steps: int,
    distance: NDArray[np.int64],
    found: NDArray[np.int32],
    fresh: NDArray[np.bool_],
) -> None:
    """Offer to each point the nearest of its nearest, and the point to each of them (Dong, Moses and Li, "NN-descent", 2011).

    Ways of which neither step is `fresh`, new in its list since the last walk began, were gone before.
    """
    k = found.shape[1]
    met = np.full(len(points), -1, np.int32)
    added = np.zeros(found.shape, np.bool_)
    for i in range(len(points)):
        met[i] = i
        for c in range(k):
            met[found[i, c]] = i
        for first in range(steps):
            middle = found[i, first]
            begun = fresh[i, first] or added[i, first]
            for second in range(steps):
                other = found[middle, second]
                if met[other] == i or not (begun or fresh[middle, second] or added[middle, second]):
                    continue
                met[other] = i
                total = np.int64(0)
                for d in range(points.shape[1]):
                    gap = np.int32(points[i, d]) - np.int32(points[other, d])
                    total += np.int64(np.uint32(gap * gap))
                for turn in range(2):
                    to, new = (i, other) if turn == 0 else (other, i)
                    if total > distance[to, k - 1]:
                        continue
                    known = False
                    for c in range(k):
                        known |= found[to, c] == new
                    at = 0 if known else k
                    while at > 0 and (
                        distance[to, at - 1] > total or (distance[to, at - 1] == total and order[found[to, at - 1]] > order[new])
                    ):
                        if at < k:
                            distance[to, at], found[to, at] = distance[to, at - 1], found[to, at - 1]
                            fresh[to, at], added[to, at] = fresh[to, at - 1], added[to, at - 1]
                        at -= 1
                    if at < k and not known:
                        distance[to, at], found[to, at], fresh[to, at], added[to, at] = total, new, False, True
    fresh[:] = added
