"""Samples that any sharding and any order select alike: the k smallest keyed hashes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.aggregates.sorted_arrays import place_in_run


def bottom_k(rank: NDArray[np.uint64], k: int) -> NDArray[np.intp]:
    """Positions of the k smallest ranks, in rank order; equal ranks are equal samples, so ties do not matter."""
    return np.argsort(rank, kind="stable")[:k]


def bottom_k_of_each(group: NDArray[np.integer], rank: NDArray[np.uint64], k: int) -> NDArray[np.intp]:
    """Positions of the k smallest ranks within each group, ordered by group, then rank."""
    order = np.lexsort((rank, group))
    return order[place_in_run(group[order]) < k]


def fold_of(rank: NDArray[np.uint64], folds: int) -> NDArray[np.int64]:
    """The cross-fitting fold of each sample, from the high bits of its rank (the low ones choose samples)."""
    return ((rank * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)).astype(np.int64) % folds
