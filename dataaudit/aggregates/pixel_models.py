"""Low-level models of what might be a trigger at a fixed place, learnt per label by seed and amplify on a bounded sample.

    seed      samples whose label disagrees with their content (dirty labels); or those nearest to what the label's
              pictures have in common against all others, or along their main axis of variation (clean labels)
    amplify   a cross-fitted linear discriminant tells the seeds from their label-mates by low-level features alone;
              its out-of-fold scores choose the next seeds, a few rounds

The covariance is that of all labels together, factored once a fold: a round then costs a mean and two triangular
solves, so several shares of seeds are tried, and those whose hits promise most on the sample are kept (`pixel_evidence`).
The samples that contradict their labels, whatever these are, are treated as one more label (`CONTRADICTED`): a trigger
that sends every label to another one is pure in it.
Seeds by spectrum: Tran, Li, Madry, "Spectral signatures in backdoor attacks", NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.low_level import RESIDUAL, STEPS, WIDTH, grey, low_level, scaling, standardise
from dataaudit.aggregates.picture_sample import PictureSampleState, with_mates
from dataaudit.aggregates.pixel_evidence import EDGES, MOST_DOUBT, NORMAL_CLEAR, kinship, measure, robust_scale, split
from dataaudit.aggregates.sampling import fold_of
from dataaudit.features import thumbnail

FOLDS = 4
WEIGHT_RANGE = 2.0**28
CHUNK = 4096
DISAGREEMENT_SHARES = (0.01, 0.03, 0.1, 0.2)
TEMPLATE_SHARES = (0.01, 0.03, 0.1)
SPECTRAL_SHARES = (0.03, 0.1)
AXES = 6
STANDS_OUT = 4.5
LARGEST_SEED = 0.1
"""Where more of a label than this lies apart along an axis of variation, all of that begins a model: a tenth of it is no fair sample."""
ALIKE = 0.8
"""Candidates of one label whose hits overlap by more than this (Jaccard) are one."""
CONTRADICTED = 1.0
"""From this disagreement on (nats) a sample counts as contradicting its label, whatever it is."""
MOST_LABELS = 400
"""With more labels than this, a trigger that changes every label is not looked for."""


@dataclass(frozen=True)
class PixelModelsState:
    """Nothing: the sample was taken by `picture_sample`."""


@dataclass(frozen=True)
class PixelModelsView:
    """Candidate triggers: `target` (c,), `seeds` says how each began, `weights` (c, FOLDS, WIDTH) whole numbers judge each fold.

    A target of L, the number of labels, means the contradicted samples of all labels.
    A row's z is (score - `middle`) / `scale`: `middle` (c, L) is that of the row's own label, so that what merely tells labels apart
    counts for nobody, `scale` (c,) the deviation within the candidate's label.  `kinship` (c, b) is that of the sample's hits, `factor`
    and `centre` standardise; `learnt` (L,) tells which labels had enough samples, `typical` (L, 1024) is each label's mean residual.
    """

    target: NDArray[np.int32]
    seeds: tuple[str, ...]
    weights: NDArray[np.int32]
    middle: NDArray[np.float64]
    scale: NDArray[np.float64]
    kinship: NDArray[np.float64]
    centre: NDArray[np.float64]
    factor: NDArray[np.float64]
    learnt: NDArray[np.bool_]
    typical: NDArray[np.float32]

    def robust_z(self, table: pa.Table, target: NDArray[np.int32]) -> NDArray[np.float64]:
        """The z of every row for every candidate, shape (n, c), by the model of the other folds; far below 0 without a label."""
        if not len(self.target):
            return np.empty((table.num_rows, 0))
        raw = low_level(grey(thumbnail.from_column(table.column("thumbnail"))))
        features = standardise(raw, self.centre, self.factor).astype(np.float64)
        scores = out_of_fold(features, self.weights, fold_of(np.asarray(table.column("rank"), dtype=np.uint64), FOLDS))
        z = (scores - self.middle.T[np.maximum(target, 0)]) / self.scale
        z[target < 0] = -np.inf
        return np.asarray(z)


@dataclass(frozen=True)
class Sampled:
    """The sample as the models see it, rows by label, then rank; `doubt` is the disagreement up to 4 nats, in 4 nats."""

    features: NDArray[np.int8]
    fold: NDArray[np.int64]
    target: NDArray[np.int32]
    disagreement: NDArray[np.float64]
    doubt: NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One model: the label it accuses, how it began, whole-number weights, its scores' middle by label and scale, `kinship`, promise."""

    target: int
    seeds: str
    weights: NDArray[np.int32]
    middle: NDArray[np.float64]
    scale: float
    kinship: NDArray[np.float64]
    promise: float


@dataclass(frozen=True)
class PixelModels:
    """Shares of a label are tried as seeds, `rounds` times amplified; `per_beginning` of a label and kind of beginning are kept."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "picture_sample")
    columns: ClassVar[tuple[str, ...]] = ()
    State: ClassVar[type] = PixelModelsState
    View: ClassVar[type] = PixelModelsView

    min_label: int = 60
    rounds: int = 6
    shrinkage: float = 0.15
    per_beginning: int = 4
    max_candidates: int = 192

    def start(self, table: pa.Table, views: Views) -> PixelModelsState:
        """Nothing to add to the sample."""
        return PixelModelsState()

    def merge(self, a: PixelModelsState, b: PixelModelsState) -> PixelModelsState:
        """Nothing to merge."""
        return a

    def finish(self, state: PixelModelsState, views: Views) -> PixelModelsView:
        """Learn every label's candidates, and keep those that promise anything."""
        from threadpoolctl import threadpool_limits

        sample: PictureSampleState = views["picture_sample"]
        labels = len(views["targets"].names)
        size = np.bincount(sample.target, minlength=labels)
        learnt = size >= self.min_label
        if not learnt.any():
            return self._view([], learnt, np.zeros((labels, RESIDUAL), np.float32), np.zeros(WIDTH), np.ones(WIDTH))
        raw = np.concatenate([low_level(sample.grey[i : i + CHUNK]) for i in range(0, len(sample.grey), CHUNK)])
        typical = np.zeros((labels, RESIDUAL), np.float32)
        for label in np.flatnonzero(size):
            typical[label] = raw[sample.target == label, -RESIDUAL:].mean(axis=0, dtype=np.float64)
        centre, factor = scaling(raw)
        doubt = np.minimum(sample.disagreement, MOST_DOUBT) / MOST_DOUBT
        features = np.concatenate([standardise(raw[i : i + CHUNK], centre, factor) for i in range(0, len(raw), CHUNK)])
        rows = Sampled(features, fold_of(sample.rank, FOLDS), sample.target, sample.disagreement, doubt)
        del raw
        # One thread: more of them would sum in another order, and the report of another machine would differ.
        with threadpool_limits(1):
            solve = factorise(rows.features, rows.fold, self.shrinkage)
            found = [c for label in np.flatnonzero(learnt) for c in self._candidates(rows, int(label), learnt, solve)]
            if 2 < labels <= MOST_LABELS:
                found += self._candidates(rows, labels, learnt, solve)
        found = sorted(found, key=lambda c: -c.promise)[: self.max_candidates]
        return self._view(sorted(found, key=lambda c: (c.target, c.seeds)), learnt, typical, centre, factor)

    def _view(
        self,
        found: list[Candidate],
        learnt: NDArray[np.bool_],
        typical: NDArray[np.float32],
        centre: NDArray[np.float64],
        factor: NDArray[np.float64],
    ) -> PixelModelsView:
        weights = np.stack([c.weights for c in found]) if found else np.zeros((0, FOLDS, WIDTH), np.int32)
        middle = np.stack([c.middle for c in found]) if found else np.zeros((0, len(learnt)))
        kin = np.stack([c.kinship for c in found]) if found else np.zeros((0, len(EDGES)))
        target, scale = np.array([c.target for c in found], np.int32), np.array([c.scale for c in found])
        return PixelModelsView(target, tuple(c.seeds for c in found), weights, middle, scale, kin, centre, factor, learnt, typical)

    def _candidates(self, sampled: Sampled, label: int, learnt: NDArray[np.bool_], solve: Any) -> list[Candidate]:
        """The most promising models of one label, or of the contradicted samples where `label` is the number of labels."""
        inside = sampled.target == label if label < len(learnt) else sampled.disagreement >= CONTRADICTED
        if inside.sum() < self.min_label // 2:
            return []
        mates = inside if label < len(learnt) else with_mates(inside)
        rows = np.flatnonzero(mates)
        mine, own_fold = sampled.features[rows].astype(np.float32) / np.float32(STEPS), sampled.fold[rows]
        names, scores, shares, priors = self._beginnings(mine, own_fold, sampled.disagreement[rows], solve)
        seeds = np.maximum(8, shares * len(rows)).astype(np.intp)
        # Twice the seeds at first, since few of them are right; but what lies apart from the start is right already.
        first = np.where([name.startswith("mode") for name in names], seeds, 2 * seeds)
        weights = self._amplify(mine, own_fold, scores, first, seeds, priors, solve)
        steepest = np.maximum(np.abs(weights).max(axis=(1, 2), keepdims=True), 1e-12)
        whole = np.rint(weights / steepest * WEIGHT_RANGE).astype(np.int32)
        judged = np.empty((len(names), len(sampled.target)), np.float32)
        for at in range(0, len(sampled.target), CHUNK):
            part = slice(at, at + CHUNK)
            judged[:, part] = out_of_fold(sampled.features[part].astype(np.float32), whole.astype(np.float32), sampled.fold[part]).T
        found: list[tuple[Candidate, NDArray[np.float64]]] = []
        nobody = np.zeros(len(EDGES))
        for scores, name, share, model in zip(judged.astype(np.float64), names, shares, whole, strict=True):
            promise, middle, scale, z = measure(scores, inside, mates, sampled.target, sampled.doubt, len(learnt))
            if promise > 0:
                found.append((Candidate(label, f"{name} {share:g}", model, middle, scale, nobody, promise), z[inside]))
        kept: list[tuple[Candidate, NDArray[np.bool_]]] = []
        number: dict[str, int] = {}
        for candidate, z in sorted(found, key=lambda c: -c[0].promise):
            hits = z > 4.0
            if not any((hits & h).sum() > ALIKE * (hits | h).sum() for _, h in kept):
                beginning = candidate.seeds.split()[0]
                number[beginning] = number.get(beginning, 0) + 1
                if number[beginning] <= self.per_beginning:
                    # Where all labels are accused there are no mates to be of kin with.
                    kin = kinship(mine[:, -RESIDUAL:], z) if label < len(learnt) else nobody
                    kept.append((replace(candidate, kinship=kin), hits))
        return [candidate for candidate, _ in kept]

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
            side, share = heap(along)
            if share >= LARGEST_SEED:
                begun.append((f"mode {number}", side * along, share, nothing))
        names, scores, shares, priors = zip(*begun, strict=True)
        return list(names), np.stack(scores), np.array(shares), np.stack(priors)

    def _amplify(
        self,
        mine: NDArray[np.float32],
        own_fold: NDArray[np.int64],
        scores: NDArray[np.float64],
        first: NDArray[np.intp],
        seeds: NDArray[np.intp],
        priors: NDArray[np.float64],
        solve: Any,
    ) -> NDArray[np.float32]:
        """The last round's weights (b, FOLDS, WIDTH); row b takes the best `first[b]` of `scores[b]`, then the best `seeds[b]`."""
        weights = np.zeros((len(scores), FOLDS, mine.shape[1]), np.float32)
        raw, standing_out = np.empty(scores.shape), seeds
        parts = [np.ascontiguousarray(mine[own_fold == f]) for f in range(FOLDS)]
        sums = np.stack([part.sum(axis=0) for part in parts])
        usual = (sums.sum(axis=0) - sums) / np.maximum(1, len(mine) - np.bincount(own_fold, minlength=FOLDS))[:, None]
        for turn in range(self.rounds):
            # As many as stand out at the end, since by then most are right.
            sizes = first if turn == 0 else np.maximum(seeds, standing_out) if turn >= self.rounds - 2 else seeds
            chosen = np.zeros(scores.shape, np.float32)
            for b, (s, k) in enumerate(zip(scores, sizes, strict=True)):
                chosen[b, np.argsort(-s, kind="stable")[:k]] = 1
            by_fold = np.stack([chosen[:, own_fold == f] @ part for f, part in enumerate(parts)])
            number = np.stack([chosen[:, own_fold == f].sum(axis=1) for f in range(FOLDS)])
            for f in range(FOLDS):
                mean = (by_fold.sum(axis=0) - by_fold[f]) / np.maximum(1, number.sum(axis=0) - number[f])[:, None]
                found = solve(f, (mean - usual[f]).T).T
                weights[:, f] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
                raw[:, own_fold == f] = weights[:, f] @ parts[f].T
            scales = [robust_scale(values) for values in raw]
            z = np.stack([(values - m) / s for values, (m, s) in zip(raw, scales, strict=True)])
            standing_out = np.minimum((z > STANDS_OUT).sum(axis=1), len(mine) // 2)
            scores = z + priors
        return weights


def heap(values: NDArray[np.float64]) -> tuple[int, float]:
    """On which side (1 above, -1 below) values (n,) have a heap of their own, and its share; 0 where they are one heap.

    Where a few lie so far out that they are a heap by themselves, what the others have on that side counts too.
    """
    side, share, clear = split(values)
    if clear <= NORMAL_CLEAR + 4 / np.sqrt(len(values)):
        return side, 0.0
    if share < LARGEST_SEED:
        rest = np.sort(side * values)[: len(values) - round(share * len(values))]
        again, more, clear = split(rest)
        if again > 0 and clear > NORMAL_CLEAR + 4 / np.sqrt(len(rest)):
            share += more * len(rest) / len(values)
    return side, share


def out_of_fold(features: NDArray[Any], weights: NDArray[Any], fold: NDArray[np.int64]) -> NDArray[Any]:
    """Scores (n, c) of features (n, d) by each row's fold of the weights (c, FOLDS, d); exact where float64 features are whole numbers."""
    scores = np.empty((len(features), len(weights)), features.dtype)
    for f in range(FOLDS):
        rows = fold == f
        scores[rows] = features[rows] @ weights[:, f].T.astype(features.dtype)
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
