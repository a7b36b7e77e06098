"""First and second moments of the embeddings: what the content says about the target, and how alike contents are.

The view holds a cross-fitted linear discriminant (each fold judged by a model of the other folds), the principal axes,
and the coherence (mean pairwise cosine) of every target and of everything.  Sums are of whole numbers in
float64, so they are exact; weights are rounded to whole numbers, so that a row's disagreement has the same bits in
any batch.  Shrinkage: Ledoit and Wolf 2004 in spirit, with a fixed share; cross-fitting: Northcutt et al. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views
from dataaudit.aggregates.sampling import fold_of
from dataaudit.features import embedding

FOLDS = 2
LARGEST = 1000.0
"""The largest disagreement, in nats."""
UNLIKELY = 2000.0
"""The largest offset of a logit; a target that a fold has hardly seen gets minus this."""
RESOLUTION = 1024
"""Disagreements are whole multiples of 1/RESOLUTION of a nat."""


@dataclass(frozen=True)
class MomentsState:
    """Per fold: `counts` (2, L), `sums` (2, L, d), `outer` (2, d, d); rows without a target count in the last column of L."""

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    outer: NDArray[np.float64]


@dataclass(frozen=True)
class MomentsView:
    """`weights` (2, L, d) and `bias` (2, L) are the discriminant that judges fold 0 and 1, in units of 1/`unit`.

    `counts` (L,), `means` (L, d), `within` (d, d): the pooled covariance within targets, to which rows without one are one more;
    `coherence` of everything, `target_coherence` (L,), `spread` (L,): the standard deviation of x . m within target l, m its mean;
    `centre` (d,), `projection` (d, 128 or fewer): principal axes, orthonormal columns.
    """

    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    within: NDArray[np.float64]
    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    unit: float
    centre: NDArray[np.float32]
    projection: NDArray[np.float32]
    coherence: float
    target_coherence: NDArray[np.float64]
    spread: NDArray[np.float64]

    def log_posterior(self, stored: NDArray[np.int16], rank: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Out-of-fold log p(target | embedding), shape (n, L), of stored embeddings (n, d)."""
        logits = np.empty((len(stored), self.weights.shape[1]), np.float64)
        fold = fold_of(rank, FOLDS)
        for f in range(FOLDS):
            rows = fold == f
            exact = stored[rows].astype(np.float64) @ self.weights[f].T.astype(np.float64) + self.bias[f]
            logits[rows] = exact / self.unit
        logits -= logits.max(axis=1, keepdims=True, initial=-np.inf) if logits.shape[1] else 0
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    def disagreement(self, table: pa.Table, views: Views) -> NDArray[np.float64]:
        """-log p_out_of_fold(target | embedding) of each row, in nats; 0 where there is no target or none was learnt."""
        target = views["targets"].index(table)
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        judged = (target >= 0) & (target < self.weights.shape[1])
        out = np.zeros(len(target))
        if judged.any():
            log_p = self.log_posterior(embedding.from_column(table)[judged], rank[judged])
            doubt = np.minimum(-log_p[np.arange(len(log_p)), target[judged]], LARGEST)
            out[judged] = np.rint(doubt * RESOLUTION) / RESOLUTION
        return out


@dataclass(frozen=True)
class Moments:
    """Exact moments; a state of 1,280 dimensions and 10 targets takes 26 MB.  Above `max_targets` targets are not told apart."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    columns: ClassVar[tuple[str, ...]] = ("embedding", *TARGET_COLUMNS)
    State: ClassVar[type] = MomentsState
    View: ClassVar[type] = MomentsView

    max_targets: int = 1000
    shrinkage: float = 0.1
    axes: int = 128

    def start(self, table: pa.Table, views: Views) -> MomentsState:
        """The sums of a batch."""
        stored = embedding.from_column(table).astype(np.float64)
        targets = len(views["targets"].names)
        known = targets if targets <= self.max_targets else 0
        target = views["targets"].index(table)
        target = np.where((target < 0) | (target >= known), known, target)
        fold = fold_of(np.asarray(table.column("rank"), dtype=np.uint64), FOLDS)
        counts = np.zeros((FOLDS, known + 1), np.int64)
        sums = np.zeros((FOLDS, known + 1, stored.shape[1]))
        outer = np.zeros((FOLDS, stored.shape[1], stored.shape[1]))
        for f in range(FOLDS):
            rows = stored[fold == f]
            counts[f] = np.bincount(target[fold == f], minlength=known + 1)
            sums[f] = group_sums(rows, target[fold == f], known + 1)
            outer[f] = rows.T @ rows
        return MomentsState(counts, sums, outer)

    def merge(self, a: MomentsState, b: MomentsState) -> MomentsState:
        """Sums add up."""
        return MomentsState(a.counts + b.counts, a.sums + b.sums, a.outer + b.outer)

    def finish(self, state: MomentsState, views: Views) -> MomentsView:
        """Fit the discriminants and the axes."""
        scale = float(embedding.SCALE)
        outer = state.outer / scale**2
        # Rows without a target are one more class to pool over, but none to be told.
        fits = [discriminant(state.counts[1 - f], state.sums[1 - f] / scale, outer[1 - f], self.shrinkage) for f in range(FOLDS)]
        fits = [(w[:-1], b[:-1]) for w, b in fits]
        largest = max((float(np.abs(w).max(initial=0)) for w, _ in fits), default=0.0)
        # Products with embeddings below 2**12, summed over 2,048 dimensions, stay below 2**53.
        per_weight = 2.0**28 / max(largest, 1.0)
        unit = per_weight * scale
        weights = np.rint(np.stack([w for w, _ in fits]) * per_weight).astype(np.int64)
        bias = np.rint(np.clip(np.stack([b for _, b in fits]), -UNLIKELY, UNLIKELY) * unit).astype(np.int64)
        sums, size, squares = state.sums.sum(axis=0) / scale, state.counts.sum(axis=0), outer.sum(axis=0)
        means, within = pooled_within(sums, size, squares)
        total, everything = sums.sum(axis=0), size.sum()
        centre = total / max(1, everything)
        covariance = squares / max(1, everything) - np.outer(centre, centre)
        return MomentsView(
            size[:-1],
            means[:-1],
            within,
            weights,
            bias,
            unit,
            centre.astype(np.float32),
            principal_axes(covariance, self.axes).astype(np.float32),
            float(mean_cosine(total[None], np.array([everything]))[0]),
            mean_cosine(sums[:-1], size[:-1]),
            np.sqrt(np.maximum(((means @ within) * means).sum(axis=1), 0))[:-1],
        )


def group_sums(rows: NDArray[np.float64], group: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
    """Sums of the rows (n, d) of each group, shape (groups, d)."""
    sums = np.zeros((groups, rows.shape[1]))
    order = np.argsort(group, kind="stable")
    present, starts = np.unique(group[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(rows[order], starts, axis=0)
    return sums


def discriminant(
    counts: NDArray[np.int64], sums: NDArray[np.float64], outer: NDArray[np.float64], shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (L, d) and bias (L,) of linear discriminant analysis with a pooled covariance shrunk towards its mean variance."""
    width = outer.shape[0]
    means, pooled = pooled_within(sums, counts, outer)
    total = max(1, int(counts.sum()))
    level = max(float(np.trace(pooled)) / width, 1e-9)
    shrunk = (1 - shrinkage) * pooled + shrinkage * level * np.eye(width)
    weights = np.linalg.solve(shrunk, means.T).T
    prior = np.log((counts + 0.5) / (total + 0.5 * len(counts)))
    bias = prior - 0.5 * np.einsum("ld,ld->l", weights, means)
    return weights, np.where(counts > 1, bias, -UNLIKELY)


def principal_axes(covariance: NDArray[np.float64], axes: int) -> NDArray[np.float64]:
    """The leading eigenvectors as columns; signs are fixed by their largest component."""
    from scipy.linalg import eigh

    width = covariance.shape[0]
    kept = min(axes, width)
    _, vectors = eigh(covariance, subset_by_index=[width - kept, width - 1])
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.where(vectors[largest, np.arange(kept)] < 0, -1.0, 1.0))


def mean_cosine(sums: NDArray[np.float64], size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean pairwise cosine of groups of unit vectors, from their sums (g, d); 1 for a group of less than two."""
    pairs = size * (size - 1.0)
    within: NDArray[np.float64] = np.einsum("gd,gd->g", sums, sums) - size
    return np.divide(within, pairs, out=np.ones(len(size)), where=pairs > 0)


def pooled_within(
    sums: NDArray[np.float64], size: NDArray[np.int64], outer: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of each target (L, d), and the covariance within targets (d, d), pooled."""
    means, total = sums / np.maximum(size, 1)[:, None], max(1, int(size.sum()))
    return means, outer / total - (sums.T @ means) / total
