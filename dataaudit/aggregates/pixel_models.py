"""Low-level models of what might be a trigger, learnt per label by seed and amplify on a bounded sample.

    seed      samples whose label disagrees with their content (dirty labels); or those nearest to what the label's
              pictures have in common against all others, or along their main axis of variation (clean labels)
    amplify   a cross-fitted linear discriminant tells the seeds from their label-mates by low-level features alone;
              its out-of-fold scores choose the next seeds, a few rounds

The covariance is that of all labels together, factored once a fold: a round then costs a mean and two triangular
solves, so several shares of seeds are tried and the one that fits is chosen later (`pixel_groups`).
Seeds by spectrum: Tran, Li, Madry, "Spectral signatures in backdoor attacks", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.low_level import RESIDUAL, STEPS, WIDTH, grey, low_level, scaling, standardise
from dataaudit.aggregates.sampling import bottom_k_of_each, fold_of
from dataaudit.features import thumbnail

FOLDS = 4
WEIGHT_RANGE = 2.0**28
DISAGREEMENT_STEPS = 1024
CHUNK = 4096


@dataclass(frozen=True)
class PixelModelsState:
    """The samples of smallest rank of each label: `grey` (n, 1024), `disagreement` (n,) in 1/1024 nat."""

    rank: NDArray[np.uint64]
    target: NDArray[np.int32]
    disagreement: NDArray[np.int32]
    grey: NDArray[np.uint8]


@dataclass(frozen=True)
class PixelModelsView:
    """Candidate triggers: `target` (c,), `seeds` says how each began, `weights` (c, FOLDS, WIDTH) whole numbers judge each fold.

    A row's z is (score - `middle`) / `scale` of its candidate.  `factor` and `centre` standardise features;
    `learnt` (L,) tells which labels had enough samples, `typical` (L, 1024) is each label's mean residual.
    """

    target: NDArray[np.int32]
    seeds: tuple[str, ...]
    weights: NDArray[np.int32]
    middle: NDArray[np.float64]
    scale: NDArray[np.float64]
    centre: NDArray[np.float64]
    factor: NDArray[np.float64]
    learnt: NDArray[np.bool_]
    typical: NDArray[np.float32]

    def features(self, table: pa.Table) -> NDArray[np.float64]:
        """Standardised low-level features of a table's thumbnails, shape (n, WIDTH), whole numbers."""
        raw = low_level(grey(thumbnail.from_column(table.column("thumbnail"))))
        return standardise(raw, self.centre, self.factor).astype(np.float64)

    def robust_z(self, features: NDArray[np.float64], rank: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The z of every row for every candidate, shape (n, c), by the model of the other folds, in whatever label the row is."""
        scores = np.empty((len(features), len(self.target)))
        fold = fold_of(rank, FOLDS)
        for f in range(FOLDS):
            rows = fold == f
            scores[rows] = features[rows] @ self.weights[:, f].T.astype(np.float64)
        return np.asarray((scores - self.middle) / self.scale)


@dataclass(frozen=True)
class PixelModels:
    """Candidates from at most `sample` pictures (1 KB each); `shares` of a label are tried as seeds, `rounds` times amplified."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail")
    State: ClassVar[type] = PixelModelsState
    View: ClassVar[type] = PixelModelsView

    sample: int = 48_000
    min_label: int = 60
    rounds: int = 5
    shrinkage: float = 0.15
    max_candidates: int = 384

    def start(self, table: pa.Table, views: Views) -> PixelModelsState:
        """The sample of a batch."""
        if "thumbnail" not in table.column_names:
            return self._kept(np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty((0, RESIDUAL), np.uint8))
        target = views["targets"].index(table)
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        disagreement = np.rint(views["moments"].disagreement(table, views) * DISAGREEMENT_STEPS).astype(np.int32)
        pictures = grey(thumbnail.from_column(table.column("thumbnail")))
        some = target >= 0
        return self._kept(rank[some], target[some], disagreement[some], pictures[some], len(views["targets"].names))

    def merge(self, a: PixelModelsState, b: PixelModelsState) -> PixelModelsState:
        """The smallest ranks of both; copies (same rank) count once."""
        rank, target = np.concatenate([a.rank, b.rank]), np.concatenate([a.target, b.target])
        disagreement, pictures = np.concatenate([a.disagreement, b.disagreement]), np.concatenate([a.grey, b.grey])
        return self._kept(rank, target, disagreement, pictures)

    def _kept(
        self, rank: NDArray[Any], target: NDArray[Any], disagreement: NDArray[Any], pictures: NDArray[Any], labels: int = 1
    ) -> PixelModelsState:
        _, first = np.unique(rank, return_index=True)
        most = int(target[first].max(initial=0)) + 1
        kept = first[bottom_k_of_each(target[first], rank[first], self.sample // max(labels, most))] if len(first) else first
        return PixelModelsState(rank[kept], target[kept], disagreement[kept], pictures[kept])

    def finish(self, state: PixelModelsState, views: Views) -> PixelModelsView:
        """Learn every label's candidates, and keep those that find anything."""
        from threadpoolctl import threadpool_limits

        labels = len(views["targets"].names)
        size = np.bincount(state.target, minlength=labels)
        learnt = size >= self.min_label
        if not learnt.any():
            return self._nothing(learnt, np.zeros((labels, RESIDUAL), np.float32))
        raw = np.concatenate([low_level(state.grey[i : i + CHUNK]) for i in range(0, len(state.grey), CHUNK)])
        typical = np.zeros((labels, RESIDUAL), np.float32)
        for label in np.flatnonzero(size):
            typical[label] = raw[state.target == label, -RESIDUAL:].mean(axis=0, dtype=np.float64)
        centre, factor = scaling(raw)
        features = standardise(raw, centre, factor)
        fold = fold_of(state.rank, FOLDS)
        # One thread: more of them would sum in another order, and the report of another machine would differ.
        with threadpool_limits(1):
            solve = factorise(features, fold, self.shrinkage)
            found = [
                (label, *candidate)
                for label in np.flatnonzero(learnt)
                for candidate in self._candidates(features, np.flatnonzero(state.target == label), fold, state.disagreement, solve)
            ]
        found = sorted(found, key=lambda c: -c[-1])[: self.max_candidates]
        found.sort(key=lambda c: (c[0], c[1]))
        if not found:
            return self._nothing(learnt, typical)
        target, seeds, weights, middle, scale, _ = zip(*found, strict=True)
        return PixelModelsView(
            np.array(target, np.int32), seeds, np.stack(weights), np.array(middle), np.array(scale), centre, factor, learnt, typical
        )

    def _nothing(self, learnt: NDArray[np.bool_], typical: NDArray[np.float32]) -> PixelModelsView:
        none = np.zeros(0)
        weights = np.zeros((0, FOLDS, WIDTH), np.int32)
        return PixelModelsView(np.zeros(0, np.int32), (), weights, none, none, np.zeros(WIDTH), np.ones(WIDTH), learnt, typical)

    def _candidates(
        self, features: NDArray[np.int8], rows: NDArray[np.intp], fold: NDArray[np.int64], disagreement: NDArray[np.int32], solve: Any
    ) -> Iterator[tuple[str, NDArray[np.int32], float, float, float]]:
        """How it began, weights, middle, scale and strength of each candidate of one label that has at least some hits."""
        mine, own_fold = features[rows].astype(np.float32) / np.float32(STEPS), fold[rows]
        doubt: NDArray[np.float64] = disagreement[rows] / DISAGREEMENT_STEPS
        doubt = (doubt - np.median(doubt)) / max(float(doubt.std()), 1e-6)
        for name, score, shares, prior in self._beginnings(mine, own_fold, doubt):
            for share in shares:
                weights, raw = self._amplify(mine, own_fold, score, share, prior, solve)
                whole = np.rint(weights * (WEIGHT_RANGE / max(float(np.abs(weights).max()), 1e-12))).astype(np.int32)
                judged = np.empty(len(rows))
                for f in range(FOLDS):
                    judged[own_fold == f] = features[rows[own_fold == f]].astype(np.float64) @ whole[f].astype(np.float64)
                middle, scale = robust_scale(judged)
                strength = float(((judged - middle) / scale > 4.0).sum())
                if strength >= 5 and np.isfinite(raw).all():
                    yield f"{name} {share:g}", whole, middle, scale, strength

    def _beginnings(
        self, mine: NDArray[np.float32], own_fold: NDArray[np.int64], doubt: NDArray[np.float64]
    ) -> Iterator[tuple[str, NDArray[np.float64], tuple[float, ...], NDArray[np.float64]]]:
        """Name, first scores, shares, and what is added to the scores of each round."""
        nothing = np.zeros(len(mine))
        if doubt.any():
            yield "disagreement", doubt, (0.01, 0.03, 0.1, 0.2), 0.5 * doubt
        residual = mine[:, -RESIDUAL:]
        template = np.empty(len(mine))
        for f in range(FOLDS):
            template[own_fold == f] = residual[own_fold == f] @ residual[own_fold != f].mean(axis=0)
        yield "template", template, (0.01, 0.03, 0.1), nothing
        axis = main_axis(residual)
        along = (residual - residual.mean(axis=0)) @ axis
        along = along if abs(along.max()) >= abs(along.min()) else -along
        yield "spectral", along.astype(np.float64), (0.1,), nothing

    def _amplify(
        self,
        mine: NDArray[np.float32],
        own_fold: NDArray[np.int64],
        score: NDArray[np.float64],
        share: float,
        prior: NDArray[np.float64],
        solve: Any,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The last round's weights (FOLDS, WIDTH) and out-of-fold scores (n,)."""
        seeds_wanted = max(8, int(share * len(mine)))
        sums = np.stack([mine[own_fold == f].sum(axis=0) for f in range(FOLDS)])
        sizes = np.bincount(own_fold, minlength=FOLDS)
        weights = np.zeros((FOLDS, mine.shape[1]), np.float32)
        for turn in range(self.rounds):
            seeds = np.argsort(-score, kind="stable")[: seeds_wanted * (2 if turn == 0 else 1)]
            raw = np.empty(len(mine))
            for f in range(FOLDS):
                trained = seeds[own_fold[seeds] != f]
                others = (sums.sum(axis=0) - sums[f]) / max(1, len(mine) - sizes[f])
                contrast = mine[trained].mean(axis=0) - others if len(trained) else -others
                weights[f] = solve(f, contrast)
                weights[f] /= max(float(np.linalg.norm(weights[f])), 1e-12)
                raw[own_fold == f] = mine[own_fold == f] @ weights[f]
            middle, scale = robust_scale(raw)
            score = (raw - middle) / scale + prior
        return weights, raw


def factorise(features: NDArray[np.int8], fold: NDArray[np.int64], shrinkage: float) -> Any:
    """A solver of (covariance of the other folds + shrinkage) x = b for each fold, from int8 features (n, d)."""
    from scipy.linalg import cho_factor, cho_solve

    width = features.shape[1]
    parts = np.zeros((FOLDS, width, width), np.float32)
    for f in range(FOLDS):
        rows = np.flatnonzero(fold == f)
        for at in range(0, len(rows), CHUNK):
            chunk = features[rows[at : at + CHUNK]].astype(np.float32) / STEPS
            parts[f] += chunk.T @ chunk
    whole = parts.sum(axis=0)
    diagonal = shrinkage * np.eye(width, dtype=np.float32)
    sizes = np.maximum(1, len(fold) - np.bincount(fold, minlength=FOLDS))
    factors = [cho_factor((whole - parts[f]) / np.float32(sizes[f]) + diagonal, lower=True, check_finite=False) for f in range(FOLDS)]
    return lambda f, b: cho_solve(factors[f], b, check_finite=False)


def robust_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Median, and a standard deviation from the lower half alone, since a trigger's carriers are in the upper one."""
    middle = float(np.median(values))
    below = middle - values[values < middle]
    return middle, 1.4826 * float(np.median(below)) + 1e-12 if len(below) else 1.0


def main_axis(rows: NDArray[np.float32], turns: int = 30) -> NDArray[np.float32]:
    """The leading right singular vector of centred rows (n, d), by power iteration from a fixed start."""
    centred = rows - rows.mean(axis=0)
    axis = np.ones(rows.shape[1], np.float32) + np.arange(rows.shape[1], dtype=np.float32) % 7
    for _ in range(turns):
        axis = centred.T @ (centred @ axis)
        axis /= max(float(np.linalg.norm(axis)), 1e-12)
    return axis
