"""How thin the data is around a point, from distances to its neighbours: k-distance, SLOF and DAO at several k.

Among k neighbours up to k samples of one kind shelter each other; so more than one k is asked.  All functions are pure, of ascending
distances (n, K) and the neighbours' positions among r references, for which `reach` (r, s) holds the distance to the k-th neighbour and
`dimension` (r, s) the local intrinsic dimension at each of s numbers k.

Schubert, Zimek and Kriegel, "Local outlier detection reconsidered", 2014 (SLOF); Anderberg et al., "Dimensionality-aware outlier
detection", 2024 (DAO); Huang et al., "Detecting backdoor samples in contrastive language image pretraining", ICLR 2025.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.features import embedding

NEIGHBOURS = (16, 64, 256)
MEASURES = 3
"""k-distance, SLOF and DAO."""
FLOOR = 1 / embedding.SCALE
"""Distances below the stored resolution count as that resolution."""


def scales(references: int, share: float = 1.0) -> tuple[int, ...]:
    """The numbers of neighbours to look at among so many references, which are this share of the data.

    In a sample of a quarter, 16 neighbours are what 64 are in all of it.  None may be more than a quarter of the references, but
    the first, which may be all others.
    """
    wanted = sorted({max(NEIGHBOURS[0], round(k * share)) for k in NEIGHBOURS})
    few = min(NEIGHBOURS[0], references - 1)
    return tuple(k for k in wanted if k <= references // 4) or ((few,) if few > 0 else ())


def surroundings(distance: NDArray[np.float32], ks: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`reach` and `dimension`, each (n, s), of rows with these distances."""
    reach = [np.maximum(distance[:, k - 1].astype(np.float64), FLOOR) for k in ks]
    return _columns(len(distance), reach), _columns(len(distance), [intrinsic_dimension(distance[:, :k]) for k in ks])


def measures(
    distance: NDArray[np.float32],
    near: NDArray[np.integer],
    reach: NDArray[np.float64],
    dimension: NDArray[np.float64],
    ks: tuple[int, ...],
) -> NDArray[np.float64]:
    """The logarithms of k-distance and SLOF, and DAO, at each k: shape (n, 3 s)."""
    found: list[NDArray[np.float64]] = []
    for s, k in enumerate(ks):
        own, theirs = np.maximum(distance[:, k - 1].astype(np.float64), FLOOR), reach[near[:, :k], s]
        found += [np.log(own), np.log(slof(own, theirs)), dao(own, theirs, dimension[near[:, :k], s])]
    return _columns(len(distance), found)


def _columns(rows: int, columns: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.column_stack([np.empty((rows, 0)), *columns])


def slof(own: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Simplified local outlier factor: the mean of d_k(x) / d_k(o) over the neighbours o; own (n,), theirs (n, k)."""
    return np.asarray(np.mean(own[:, None] / theirs, axis=1))


def dao(own: NDArray[np.float64], theirs: NDArray[np.float64], dimension: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dimension-aware outlier factor: the mean of LID(o) * ln(d_k(x) / d_k(o)) over the neighbours o."""
    return np.asarray(np.mean(dimension * np.log(own[:, None] / theirs), axis=1))


def intrinsic_dimension(distance: NDArray[np.float32]) -> NDArray[np.float64]:
    """Local intrinsic dimension from ascending neighbour distances (n, k), shape (n,), capped at 1,000.

    LID = -k / sum_i ln(d_i / d_k), the maximum-likelihood estimate of Amsaleg et al., "Estimating local intrinsic
    dimensionality", KDD 2015.
    """
    floored = np.maximum(distance.astype(np.float64), FLOOR)
    logs = np.log(floored / floored[:, -1:]).sum(axis=1)
    return np.asarray(distance.shape[1] / np.maximum(-logs, distance.shape[1] / 1000))


def usual(known: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of each measure (r, m): two arrays (m,)."""
    middle = np.median(known.astype(np.float64), axis=0)
    return middle, 1.4826 * np.median(np.abs(known - middle), axis=0)


def strength(own: NDArray[np.floating], middle: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each row (n, m) stands out, in robust standard deviations, shape (n,), at the k at which it does most.

    Of the measures at one k the largest counts half and their mean half.  A measure beyond three for each k (m not a multiple of
    three) belongs to every k.  0 where all references are alike.
    """
    z = np.where(spread > 0, np.maximum((own - middle) / np.maximum(spread, 1e-6), 0), 0.0)
    further = z[:, own.shape[1] // MEASURES * MEASURES :]
    groups = [np.hstack([z[:, at : at + MEASURES], further]) for at in range(0, own.shape[1] - further.shape[1], MEASURES)]
    return np.asarray(np.max([np.zeros(len(own)), *((group.max(axis=1) + group.mean(axis=1)) / 2 for group in groups)], axis=0))
