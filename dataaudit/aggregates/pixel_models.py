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
DISAGREEMENT_SHARES = (0.01, 0.03, 0.1, 0.2)
TEMPLATE_SHARES = (0.01, 0.03, 0.1)
SPECTRAL_SHARES = (0.03, 0.1)
AXES = 6
STANDS_OUT = 4.5
ALIKE = 0.8
"""Candidates of one label whose hits overlap by more than this (Jaccard) are one."""


@dataclass(frozen=True)
class PixelModelsState:
    """The `cap` samples of smallest rank of each label: `grey` (n, 1024), `disagreement` (n,) in 1/1024 nat."""

    cap: int

    rank: NDArray[np.uint64]
    target: NDArray[np.int32]
    disagreement: NDArray[np.int32]
    grey: NDArray[np.uint8]


@dataclass(frozen=True)
class PixelModelsView:
    """Candidate triggers: `target` (c,), `seeds` says how each began, `weights` (c, FOLDS, WIDTH) whole numbers judge each fold.

    A row's z is (score - `middle`) / `scale`: `middle` (c, L) is the median of the row's own label, so that what merely
    tells labels apart counts for nobody, `scale` (c,) the deviation within the candidate's label.  `factor` and `centre` standardise;
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

    def robust_z(self, features: NDArray[np.float64], target: NDArray[np.int32], rank: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The z of every row for every candidate, shape (n, c), by the model of the other folds; far below 0 without a label."""
        scores = out_of_fold(features, self.weights, fold_of(rank, FOLDS))
        z = (scores - self.middle.T[np.maximum(target, 0)]) / self.scale
        z[target < 0] = -np.inf
        return np.asarray(z)


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
            nothing = np.empty(0, np.int32)
            return PixelModelsState(0, np.empty(0, np.uint64), nothing, nothing, np.empty((0, RESIDUAL), np.uint8))
        target = views["targets"].index(table)
        labels = self.learnable(views["targets"].counts)
        cap = self.sample // max(1, int(labels.sum()))
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        disagreement = np.rint(views["moments"].disagreement(table, views) * DISAGREEMENT_STEPS).astype(np.int32)
        pictures = grey(thumbnail.from_column(table.column("thumbnail")))
        some = (target >= 0) & labels[np.maximum(target, 0)] if len(labels) else target >= 0
        return self._kept(cap, rank[some], target[some], disagreement[some], pictures[some])

    def merge(self, a: PixelModelsState, b: PixelModelsState) -> PixelModelsState:
        """The smallest ranks of both; copies (same rank) count once."""
        rank, target = np.concatenate([a.rank, b.rank]), np.concatenate([a.target, b.target])
        disagreement, pictures = np.concatenate([a.disagreement, b.disagreement]), np.concatenate([a.grey, b.grey])
        return self._kept(max(a.cap, b.cap), rank, target, disagreement, pictures)

    def learnable(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Labels with images enough, the most frequent ones where there are more than the sample has room for, (L,)."""
        room = self.sample // self.min_label
        largest = np.argsort(-counts, kind="stable")[:room]
        return np.asarray((counts >= self.min_label) & np.isin(np.arange(len(counts)), largest))

    def _kept(
        self, cap: int, rank: NDArray[Any], target: NDArray[Any], disagreement: NDArray[Any], pictures: NDArray[Any]
    ) -> PixelModelsState:
        _, first = np.unique(rank, return_index=True)
        kept = first[bottom_k_of_each(target[first], rank[first], cap)] if len(first) else first
        return PixelModelsState(cap, rank[kept], target[kept], disagreement[kept], pictures[kept])

    def finish(self, state: PixelModelsState, views: Views) -> PixelModelsView:
        """Learn every label's candidates, and keep those that find anything."""
        from threadpoolctl import threadpool_limits

        labels = len(views["targets"].names)
        size = np.bincount(state.target, minlength=labels)
        # Without moments (too many labels) nothing tells content from label.
        learnt = (size >= self.min_label) & (len(views["moments"].counts) > 0)
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
        target, seeds, stacked, own_middle, scale, _ = zip(*found, strict=True)
        weights = np.stack(stacked)
        middle = np.repeat(np.array(own_middle)[:, None], labels, axis=1)
        with threadpool_limits(1):
            for label in np.flatnonzero(learnt):
                rows = np.flatnonzero(state.target == label)
                middle[:, label] = np.median(out_of_fold(features[rows].astype(np.float64), weights, fold[rows]), axis=0)
        return PixelModelsView(np.array(target, np.int32), seeds, weights, middle, np.array(scale), centre, factor, learnt, typical)

    def _nothing(self, learnt: NDArray[np.bool_], typical: NDArray[np.float32]) -> PixelModelsView:
        none, middle = np.zeros(0), np.zeros((0, len(learnt)))
        weights = np.zeros((0, FOLDS, WIDTH), np.int32)
        return PixelModelsView(np.zeros(0, np.int32), (), weights, middle, none, np.zeros(WIDTH), np.ones(WIDTH), learnt, typical)

    def _candidates(
        self, features: NDArray[np.int8], rows: NDArray[np.intp], fold: NDArray[np.int64], disagreement: NDArray[np.int32], solve: Any
    ) -> Iterator[tuple[str, NDArray[np.int32], float, float, float]]:
        """How it began, weights, middle, scale and strength of each candidate of one label that has at least some hits."""
        mine, own_fold = features[rows].astype(np.float32) / np.float32(STEPS), fold[rows]
        names, scores, shares, priors = self._beginnings(mine, own_fold, disagreement[rows] / DISAGREEMENT_STEPS, solve)
        seeds = np.maximum(8, shares * len(rows)).astype(np.intp)
        weights = self._amplify(mine, own_fold, scores, seeds, priors, solve)
        steepest = np.maximum(np.abs(weights).max(axis=(1, 2), keepdims=True), 1e-12)
        whole = np.rint(weights * (WEIGHT_RANGE / steepest)).astype(np.int32)
        judged = np.empty((len(names), len(rows)))
        for f in range(FOLDS):
            exact = features[rows[own_fold == f]].astype(np.float64) @ whole[:, f].T.astype(np.float64)
            judged[:, own_fold == f] = exact.T
        scales = [robust_scale(values) for values in judged]
        z = np.stack([(values - m) / s for values, (m, s) in zip(judged, scales, strict=True)])
        hits = z > 4.0
        clearest = np.argsort(-np.minimum(z, 14.0).sum(axis=1, where=hits), kind="stable")
        known: list[int] = []
        for c in clearest:
            if hits[c].sum() >= 5 and not any((hits[c] & hits[k]).sum() > ALIKE * (hits[c] | hits[k]).sum() for k in known):
                known.append(int(c))
                yield f"{names[c]} {shares[c]:g}", whole[c], *scales[c], float(hits[c].sum())

    def _beginnings(
        self, mine: NDArray[np.float32], own_fold: NDArray[np.int64], doubt: NDArray[np.float64], solve: Any
    ) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Names, first scores (b, n), shares (b,), and what is added to the scores of each round (b, n)."""
        begun: list[tuple[str, NDArray[np.float64], float, NDArray[np.float64]]] = []
        nothing = np.zeros(len(mine))
        if doubt.any():
            odd = (doubt - np.median(doubt)) / max(float(doubt.std()), 1e-6)
            begun += [("disagreement", odd, share, 0.5 * odd) for share in DISAGREEMENT_SHARES]
        residual = mine[:, -RESIDUAL:]
        template = np.empty(len(mine))
        for f in range(FOLDS):
            template[own_fold == f] = residual[own_fold == f] @ residual[own_fold != f].mean(axis=0)
        begun += [("template", template, share, nothing) for share in TEMPLATE_SHARES]
        for number, along in enumerate(peculiar_axes(mine, lambda v: solve(0, v))):
            begun += [
                (f"spectral {number}{sign}", score, share, nothing)
                for sign, score in (("+", along), ("-", -along))
                for share in SPECTRAL_SHARES
            ]
        names, scores, shares, priors = zip(*begun, strict=True)
        return list(names), np.stack(scores), np.array(shares), np.stack(priors)

    def _amplify(
        self,
        mine: NDArray[np.float32],
        own_fold: NDArray[np.int64],
        scores: NDArray[np.float64],
        seeds: NDArray[np.intp],
        priors: NDArray[np.float64],
        solve: Any,
    ) -> NDArray[np.float32]:
        """The last round's weights (b, FOLDS, WIDTH); row b starts from `scores[b]` and takes the best `seeds[b]` of them."""
        sums = np.stack([mine[own_fold == f].sum(axis=0) for f in range(FOLDS)])
        rest = len(mine) - np.bincount(own_fold, minlength=FOLDS)
        usual = (sums.sum(axis=0) - sums) / np.maximum(1, rest)[:, None]
        weights = np.zeros((len(scores), FOLDS, mine.shape[1]), np.float32)
        raw, standing_out = np.empty(scores.shape), seeds
        for turn in range(self.rounds):
            # Twice the seeds at first, since few of them are right; as many as stand out in the end, since by then most are.
            sizes = 2 * seeds if turn == 0 else np.maximum(seeds, standing_out) if turn == self.rounds - 1 else seeds
            chosen = [np.argsort(-s, kind="stable")[:k] for s, k in zip(scores, sizes, strict=True)]
            for f in range(FOLDS):
                trained = [c[own_fold[c] != f] for c in chosen]
                contrast = np.stack([mine[c].mean(axis=0) - usual[f] if len(c) else -usual[f] for c in trained])
                found = solve(f, contrast.T).T
                weights[:, f] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
                raw[:, own_fold == f] = weights[:, f] @ mine[own_fold == f].T
            scales = [robust_scale(values) for values in raw]
            z = np.stack([(values - m) / s for values, (m, s) in zip(raw, scales, strict=True)])
            standing_out = np.minimum((z > STANDS_OUT).sum(axis=1), len(mine) // 4)
            scores = z + priors
        return weights


def out_of_fold(features: NDArray[np.float64], weights: NDArray[np.int32], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact scores (n, c) of whole-number features (n, d) by each row's fold of the weights (c, FOLDS, d)."""
    scores = np.empty((len(features), len(weights)))
    for f in range(FOLDS):
        rows = fold == f
        scores[rows] = features[rows] @ weights[:, f].T.astype(np.float64)
    return scores


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


def peculiar_axes(rows: NDArray[np.float32], solve: Any, axes: int = AXES, turns: int = 12) -> NDArray[np.float64]:
    """Scores (axes, n) along the directions in which the rows (n, d) vary most beside what all labels vary by.

    These are the leading eigenvectors of S^-1 C, with C the rows' covariance and `solve(v)` = S^-1 v that of all labels, by
    subspace iteration from a fixed start.
    """
    centred = rows - rows.mean(axis=0)
    span = np.cos(np.arange(rows.shape[1] * axes, dtype=np.float64) ** 1.5).reshape(rows.shape[1], axes).astype(np.float32)
    turned = span
    for _ in range(turns):
        span = np.linalg.qr(turned)[0].astype(np.float32)
        turned = solve(centred.T @ (centred @ span))
    values, mix = np.linalg.eig((span.T @ turned).astype(np.float64))
    order = np.argsort(-values.real)
    return np.asarray((centred @ span).astype(np.float64) @ mix.real[:, order]).T
