"""Models of small triggers at any place: the patch that suspicious pictures have and their label-mates have nowhere.

    seed      the samples of a label that contradict it most; from each, the patches that stand out most against what
              patches vary by (their whitened length)
    compare   each such patch is looked for everywhere in the seeds and in label-mates that agree with their label
    refine    where it was found, the patches are averaged to a linear discriminant of patches, a few rounds

A picture's score is the largest response at any place (global max-pool).  Whitened patch dictionaries: Coates, Ng, Lee,
"An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.low_level import RESIDUAL, SIDE, grey, low_level
from dataaudit.aggregates.picture_sample import PictureSampleState, with_mates
from dataaudit.aggregates.pixel_evidence import EDGES, MOST_DOUBT, kinship, measure, robust_scale
from dataaudit.aggregates.pixel_models import CONTRADICTED, MOST_LABELS
from dataaudit.features import thumbnail

Candidate = tuple[float, int, int, NDArray[np.float64], float]
"""Promise, label, number of its filter, middle by label, scale."""
WINDOW = 5
PLACES = SIDE - WINDOW + 1
WHOLE = 1023
"""Largest weight of a filter: 25 products of it with a byte add up exactly in float32."""
CHUNK = 256


@dataclass(frozen=True)
class PatchModelsState:
    """Nothing: the sample was taken by `picture_sample`."""


@dataclass(frozen=True)
class PatchModelsView:
    """Candidate triggers: `target` (c,), a target of L means the contradicted samples of all labels; `filters` (c, 25) whole numbers.

    A row's z is (its largest response - `middle` of its label) / `scale`; `middle` (c, L), `scale` (c,).  `kinship` (c, b)
    is that of the sample's hits, 0 where all labels are accused.
    """

    target: NDArray[np.int32]
    seeds: tuple[str, ...]
    filters: NDArray[np.int32]
    middle: NDArray[np.float64]
    scale: NDArray[np.float64]
    kinship: NDArray[np.float64]

    def robust_z(self, table: pa.Table, target: NDArray[np.int32]) -> NDArray[np.float64]:
        """The z of every row for every candidate, shape (n, c); far below 0 without a label."""
        if not len(self.target):
            return np.empty((table.num_rows, 0))
        best = respond(grey(thumbnail.from_column(table.column("thumbnail"))), self.filters.astype(np.float32))
        z = (best.astype(np.float64) - self.middle.T[np.maximum(target, 0)]) / self.scale
        z[target < 0] = -np.inf
        return np.asarray(z)


@dataclass(frozen=True)
class PatchModels:
    """`share` of a label (`least` to `most` samples) are seeds; those of their `each` patches that `shared` seeds have are tried."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "picture_sample")
    columns: ClassVar[tuple[str, ...]] = ()
    State: ClassVar[type] = PatchModelsState
    View: ClassVar[type] = PatchModelsView

    min_label: int = 60
    share: float = 0.03
    least: int = 20
    most: int = 150
    mates: int = 200
    each: int = 3
    shared: int = 4
    tried: int = 3
    kept: int = 2
    rounds: int = 3
    max_candidates: int = 32

    def start(self, table: pa.Table, views: Views) -> PatchModelsState:
        """Nothing to add to the sample."""
        return PatchModelsState()

    def merge(self, a: PatchModelsState, b: PatchModelsState) -> PatchModelsState:
        """Nothing to merge."""
        return a

    def finish(self, state: PatchModelsState, views: Views) -> PatchModelsView:
        """Learn every label's filters, and keep those that promise anything."""
        from threadpoolctl import threadpool_limits

        sample: PictureSampleState = views["picture_sample"]
        labels = len(views["targets"].names)
        size = np.bincount(sample.target, minlength=labels)
        groups = [(int(label), mask, mask) for label in np.flatnonzero(size >= self.min_label) for mask in [sample.target == label]]
        contradicted = sample.disagreement >= CONTRADICTED
        if 2 < labels <= MOST_LABELS and contradicted.sum() >= self.min_label // 2:
            groups.append((labels, contradicted, with_mates(contradicted)))
        found: list[Candidate] = []
        filters = np.zeros((0, WINDOW * WINDOW), np.int32)
        kin: list[NDArray[np.float64]] = []
        with threadpool_limits(1):
            if groups:
                inverse = patch_precision(sample.grey)
                begun = [(*group, f) for group in groups for f in self._filters(sample, np.flatnonzero(group[2]), inverse)]
                filters = np.array([f for *_, f in begun], np.int32).reshape(-1, WINDOW * WINDOW)
                scores = respond(sample.grey, filters.astype(np.float32)).astype(np.float64)
                doubt = np.minimum(sample.disagreement, MOST_DOUBT) / MOST_DOUBT
                for number, (label, inside, mates, _) in enumerate(begun):
                    worth, middle, scale, _ = measure(scores[:, number], inside, mates, sample.target, doubt, labels)
                    found += [(worth, label, number, middle, scale)] if worth > 0 else []
            found = sorted(found, key=lambda c: -c[0])
            found = [c for i, c in enumerate(found) if sum(k[1] == c[1] for k in found[:i]) < self.kept][: self.max_candidates]
            found.sort(key=lambda c: c[1])
            for _, label, number, middle, scale in found:
                rows = np.flatnonzero(sample.target == label)
                # Where all labels are accused there are no mates to be of kin with.
                z = (scores[rows, number] - middle[min(label, labels - 1)]) / scale
                kin.append(kinship(residual(sample.grey[rows]), z) if len(rows) else np.zeros(len(EDGES)))
        return PatchModelsView(
            np.array([c[1] for c in found], np.int32),
            ("roaming patch",) * len(found),
            filters[[c[2] for c in found]],
            np.stack([c[3] for c in found]) if found else np.zeros((0, labels)),
            np.array([c[4] for c in found]),
            np.stack(kin) if kin else np.zeros((0, len(EDGES))),
        )

    def _filters(self, sample: PictureSampleState, rows: NDArray[np.intp], inverse: NDArray[np.float64]) -> list[NDArray[np.int32]]:
        """Whole-number filters (25,) of the patches that most seeds among the rows, and no label-mates, have; at most `tried`."""
        order = np.argsort(-sample.disagreement[rows], kind="stable")
        seeds = sample.grey[rows[order[: int(np.clip(self.share * len(rows), self.least, self.most))]]]
        calm = order[len(order) // 2 :]
        mates = sample.grey[rows[np.sort(calm[:: max(1, len(calm) // self.mates)])]]
        exemplars = unit_filters(clearest_patches(seeds, inverse, self.each), inverse).astype(np.float32)
        theirs, mine = respond(mates, exemplars), respond(seeds, exemplars)
        level = np.sort(theirs, axis=0)[-max(2, len(mates) // 100)]
        # A clear margin: what is a trigger stands beyond the mates by more than they differ among themselves.
        hits = mine > level + 0.5 * (level - np.median(theirs, axis=0))
        chosen, left = [], hits.copy()
        for _ in range(self.tried):
            count = left.sum(axis=0)
            best = int(count.argmax())
            if count[best] < self.shared:
                break
            chosen.append(best)
            left &= ~hits[:, [best]]
        # What the seeds share is followed in all samples of the label, which hold more carriers than the seeds.
        return [self._refine(exemplars[best].astype(np.float64), sample.grey[rows], inverse) for best in chosen]

    def _refine(self, weights: NDArray[np.float64], pictures: NDArray[np.uint8], inverse: NDArray[np.float64]) -> NDArray[np.int32]:
        """The discriminant of the patches that respond most, a few rounds, in whole numbers."""
        some = pictures
        for _ in range(self.rounds):
            best = respond(some, weights[None].astype(np.float32))[:, 0].astype(np.float64)
            middle, scale = robust_scale(best)
            z = (best - middle) / scale
            strongest = np.argsort(-z, kind="stable")
            # Halfway between what is usual and the strongest dozen; a later round need not look at what is far below it.
            least = min(max(5.0, 0.5 * float(z[strongest[:12]][-1])), float(z[strongest[:8]][-1]))
            hits = some[z >= least]
            weights = unit_filters(cut(hits, place(hits, weights)).mean(axis=0)[None], inverse)[0]
        return np.rint(weights * (WHOLE / max(float(np.abs(weights).max()), 1e-12))).astype(np.int32)


def residual(greys: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The residuals (n, 1024) of grey pictures (n, 1024), a part at a time, since all features take ten times the room."""
    parts = [low_level(greys[at : at + CHUNK])[:, -RESIDUAL:] for at in range(0, len(greys), CHUNK)]
    return np.concatenate(parts).astype(np.float32)


def windows(greys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All patches of grey pictures (n, 1024), as a view of shape (n, 28, 28, 5, 5)."""
    return sliding_window_view(greys.reshape(-1, SIDE, SIDE), (WINDOW, WINDOW), axis=(1, 2))


def respond(greys: NDArray[np.uint8], filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest response at any place of each picture (n, 1024) to each filter (c, 25), shape (n, c)."""
    best = np.empty((len(greys), len(filters)), np.float32)
    if not len(filters):
        return best
    size = max(1, min(CHUNK, (1 << 25) // (PLACES * PLACES * len(filters))))
    for at in range(0, len(greys), size):
        part = windows(greys[at : at + size]).reshape(-1, WINDOW * WINDOW).astype(np.float32)
        best[at : at + size] = (filters @ part.T).reshape(len(filters), -1, PLACES * PLACES).max(axis=2).T
    return best


def place(greys: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each picture (n, 1024) responds most to a filter (25,), 0 to 783, shape (n,)."""
    found = np.empty(len(greys), np.int64)
    for at in range(0, len(greys), CHUNK):
        part = windows(greys[at : at + CHUNK])
        found[at : at + CHUNK] = (part.reshape(len(part), -1, WINDOW * WINDOW).astype(np.float64) @ weights).argmax(axis=1)
    return found


def cut(greys: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """The patch (n, 25) of each picture (n, 1024) at its place."""
    row, column = np.divmod(at, PLACES)
    return windows(greys)[np.arange(len(greys)), row, column].reshape(-1, WINDOW * WINDOW).astype(np.float64)


def patch_precision(greys: NDArray[np.uint8], pictures: int = 2000, shrinkage: float = 0.02) -> NDArray[np.float64]:
    """The inverse covariance (25, 25) of patches without their mean, from every third place of evenly chosen pictures."""
    some = greys[:: max(1, len(greys) // pictures)]
    patches = windows(some)[:, ::3, ::3].reshape(-1, WINDOW * WINDOW).astype(np.float64)
    patches -= patches.mean(axis=1, keepdims=True)
    covariance = patches.T @ patches / len(patches)
    covariance += (shrinkage * max(float(np.trace(covariance)) / len(covariance), 1.0)) * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(covariance))


def unit_filters(patches: NDArray[np.floating], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matched filter of each patch (n, 25): without mean, and of variance 1 over ordinary patches."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    filters = centred @ inverse
    filters -= filters.mean(axis=1, keepdims=True)
    return np.asarray(filters / np.sqrt(np.maximum(np.einsum("nd,nd->n", filters, centred), 1e-9))[:, None])


def clearest_patches(greys: NDArray[np.uint8], inverse: NDArray[np.float64], each: int) -> NDArray[np.float64]:
    """The `each` patches of each picture that stand out most and do not overlap, shape (n * each, 25)."""
    patches = windows(greys).reshape(len(greys), -1, WINDOW * WINDOW).astype(np.float64)
    patches -= patches.mean(axis=2, keepdims=True)
    energy = np.einsum("npd,npd->np", patches @ inverse, patches).reshape(-1, PLACES, PLACES)
    rows, columns = np.indices((PLACES, PLACES))
    out = []
    for _ in range(each):
        best = energy.reshape(len(greys), -1).argmax(axis=1)
        out.append(patches[np.arange(len(greys)), best])
        row, column = np.divmod(best, PLACES)
        near = (np.abs(rows - row[:, None, None]) < WINDOW) & (np.abs(columns - column[:, None, None]) < WINDOW)
        energy[near] = -np.inf
    return np.concatenate(out)
