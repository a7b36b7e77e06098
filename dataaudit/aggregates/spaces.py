"""Spaces of reference vectors, in which `density` says how thin it is around each of them and around any other vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.aggregates import density
from dataaudit.aggregates.knn import exact_index, nearest, thinness

Measured = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""`reach` and `dimension`, each (n, s), and `thinness` (n, 3 s)."""


def measured(vectors: NDArray[np.int16], ks: tuple[int, ...]) -> Measured:
    """How thin it is around references (n, d) among each other, at these numbers of neighbours."""
    distance, near = nearest(exact_index(vectors), vectors, vectors, max(ks, default=0), own=np.arange(len(vectors)))
    reach, dimension = density.surroundings(distance, ks)
    return reach, dimension, density.measures(distance, near, reach, dimension, ks)


def joined(parts: list[Measured]) -> Measured:
    """Of several spaces, one below the other."""
    reach, dimension, thin = (np.concatenate(part) for part in zip(*parts, strict=True))
    return reach, dimension, thin


@dataclass(frozen=True)
class Space:
    """References (n, d) with what was `measured` of them."""

    vectors: NDArray[np.int16]
    ks: NDArray[np.int64]
    reach: NDArray[np.float64]
    dimension: NDArray[np.float64]
    thinness: NDArray[np.float64]

    @cached_property
    def _searcher(self) -> Any:
        return exact_index(self.vectors)

    @cached_property
    def _usual(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return density.usual(self.thinness)

    def standing_out(self, vectors: NDArray[np.int16], known: NDArray[np.int64]) -> NDArray[np.float64]:
        """How far each vector (m, d) stands out, shape (m,); `known` (m,) is its own place among the references, -1 for none."""
        own = self.thinness[np.maximum(known, 0)]
        new = np.flatnonzero(known < 0)
        if len(new):
            own[new] = thinness(self._searcher, self.vectors, vectors[new], self.ks, self.reach, self.dimension)
        return density.strength(own, *self._usual)
