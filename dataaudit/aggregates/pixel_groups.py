"""What each candidate trigger finds in the whole data set: how many carriers, with which targets, how alike their contents.

Two facts tell a campaign from an innocent look.  Purity: a trigger's carriers are (almost) all in one label, an innocent
look occurs in every label.  Coherence: carriers that were relabelled were taken from anywhere and are as unlike each other
as the whole data set, an innocent group is at least as alike as its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.moments import MomentsView, group_sums, mean_cosine
from dataaudit.features import embedding

EDGES = np.array([3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 14.0])
"""Lower edges of the bins of z; the last has no end."""


STEPS = 1024
"""Disagreements are summed in 1/STEPS nat."""
CONTRADICTS = 4.0
"""From this disagreement on (nats) content and label contradict each other; more counts no more, so that no single row decides."""


@dataclass(frozen=True)
class PixelGroupsState:
    """Per candidate and bin of z: rows in its label `inside` (c, b) and elsewhere `outside`, sums of the insiders' embeddings (c, b, d).

    `doubt` sums the insiders' disagreement (each up to 4 nats), `foreign` (L,) what all rows of other labels would have
    with label l; both in 1/1024 nat.
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    doubt: NDArray[np.int64]
    sums: NDArray[np.float64]
    foreign: NDArray[np.int64]


@dataclass(frozen=True)
class PixelGroupsView:
    """Per candidate and threshold (EDGES), cumulated from above, shape (c, b): hits inside and outside, coherence, contradiction.

    Contradiction is the mean of min(disagreement, 4 nats) / 4 nats; `foreign` (L,) is what pictures of other
    labels would have with label l.
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    coherence: NDArray[np.float64]
    contradiction: NDArray[np.float64]
    foreign: NDArray[np.float64]


@dataclass(frozen=True)
class PixelGroups:
    """One pass of all candidates over all rows; 384 candidates of 1,280 dimensions take 43 MB."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", "pixel_models")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail")
    State: ClassVar[type] = PixelGroupsState
    View: ClassVar[type] = PixelGroupsView

    def start(self, table: pa.Table, views: Views) -> PixelGroupsState:
        """The hits of a batch."""
        models = views["pixel_models"]
        stored = embedding.from_column(table)
        candidates, bins = len(models.target), len(EDGES)
        inside, outside = np.zeros((candidates, bins), np.int64), np.zeros((candidates, bins), np.int64)
        doubt, sums = np.zeros((candidates, bins), np.int64), np.zeros((candidates, bins, stored.shape[1]))
        foreign = np.zeros(views["moments"].weights.shape[1], np.int64)
        if not candidates:
            return PixelGroupsState(inside, outside, doubt, sums, foreign)
        target = views["targets"].index(table)
        foreign += foreign_doubt(views["moments"], stored, target, np.asarray(table.column("rank"), dtype=np.uint64))
        z = models.robust_z(models.features(table), target, np.asarray(table.column("rank"), dtype=np.uint64))
        disagreement = steps(views["moments"].disagreement(table, views))
        row, candidate = np.nonzero(z >= EDGES[0])
        place = np.searchsorted(EDGES, z[row, candidate], side="right") - 1
        cell = candidate * bins + place
        mine = target[row] == models.target[candidate]
        inside += np.bincount(cell[mine], minlength=candidates * bins).reshape(candidates, bins)
        outside += np.bincount(cell[~mine], minlength=candidates * bins).reshape(candidates, bins)
        np.add.at(doubt.reshape(-1), cell[mine], disagreement[row[mine]])
        sums += group_sums(stored[row[mine]].astype(np.float64), cell[mine], candidates * bins).reshape(sums.shape)
        return PixelGroupsState(inside, outside, doubt, sums, foreign)

    def merge(self, a: PixelGroupsState, b: PixelGroupsState) -> PixelGroupsState:
        """Counts and sums add up."""
        return PixelGroupsState(a.inside + b.inside, a.outside + b.outside, a.doubt + b.doubt, a.sums + b.sums, a.foreign + b.foreign)

    def finish(self, state: PixelGroupsState, views: Views) -> PixelGroupsView:
        """Cumulate from the highest z down."""
        inside, outside, doubt = (cumulate(x) for x in (state.inside, state.outside, state.doubt))
        sums = cumulate(state.sums) / embedding.SCALE
        flat = mean_cosine(sums.reshape(-1, sums.shape[-1]), inside.reshape(-1)).reshape(inside.shape)
        counts = views["moments"].counts
        foreign = state.foreign / (STEPS * CONTRADICTS) / np.maximum(1, counts.sum() - counts)
        return PixelGroupsView(inside, outside, flat, doubt / (STEPS * CONTRADICTS) / np.maximum(inside, 1), foreign)


def steps(disagreement: NDArray[np.float64]) -> NDArray[np.int64]:
    """Disagreement up to `CONTRADICTS`, in whole steps."""
    whole: NDArray[np.int64] = np.rint(np.minimum(disagreement, CONTRADICTS) * STEPS).astype(np.int64)
    return whole


def foreign_doubt(
    moments: MomentsView, stored: NDArray[np.int16], target: NDArray[np.int32], rank: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """The disagreement that rows would have with each label that is not theirs, summed, in 1/1024 nat, shape (L,)."""
    labelled = target >= 0
    surprise = steps(-moments.log_posterior(stored[labelled], rank[labelled]))
    if not surprise.shape[1]:
        return np.zeros(0, np.int64)
    surprise[np.arange(len(surprise)), target[labelled]] = 0
    return np.asarray(surprise.sum(axis=0))


def cumulate(binned: NDArray[Any]) -> NDArray[Any]:
    """Sums over this and all higher bins of axis 1."""
    return np.asarray(np.flip(np.cumsum(np.flip(binned, 1), axis=1), 1))
