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

from dataaudit.aggregates import TARGET_COLUMNS, Views
from dataaudit.aggregates.moments import MomentsView, group_sums, mean_cosine
from dataaudit.aggregates.pixel_evidence import EDGES, MOST_DOUBT
from dataaudit.aggregates.pixel_models import CONTRADICTED, MOST_LABELS
from dataaudit.features import embedding

FAMILIES = ("pixel_models", "patch_models")
"""The views that propose candidates; theirs are numbered in this order."""
STEPS = 1024
"""Disagreements are summed in 1/STEPS nat."""
MAPPED = 7.0
"""From this z on, hits count in `mapping`."""


@dataclass(frozen=True)
class PixelGroupsState:
    """Per candidate and bin of z: rows of its label `inside` (c, b) and others `outside`, sums of the insiders' embeddings (c, b, d).

    `doubt` sums the insiders' disagreement (each up to 4 nats), `foreign` (L,) what all rows of other labels would have with label
    l, `own` (L,) what its own rows have; all in 1/1024 nat.  `alien` (c, b) counts rows of other labels by the accused label's
    middle instead of their own: many, where a model merely tells labels apart.  `contradicted` counts the rows that contradict
    their label.  `mapping` (p, L, L) counts the hits of the p candidates that accuse these, by the label that the content has and
    the label that is given.
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    alien: NDArray[np.int64]
    doubt: NDArray[np.int64]
    sums: NDArray[np.float64]
    foreign: NDArray[np.int64]
    own: NDArray[np.int64]
    contradicted: int
    mapping: NDArray[np.int64]


@dataclass(frozen=True)
class PixelGroupsView:
    """Per candidate and threshold (EDGES), cumulated from above, shape (c, b): hits inside and outside, coherence, contradiction.

    A row outside counts by its own label's middle or by the accused label's, whichever gives more hits: the latter gives many where a
    model merely tells labels apart.

    `belonging` tells where the hits' mean content lies between that of all other labels (0) and that of the label's other pictures (1), and
    `belonging_error` (both (c, b)) its standard error: a label's look that hits have taught is not among the other pictures.

    Contradiction is the mean of min(disagreement, 4 nats) / 4 nats; `foreign` (L + 1,) is what pictures of other labels would
    have with label l, `own` (L + 1,) what its own pictures have, the last of both being the mean over all labels.  `target` (c,),
    `seeds` and `kinship` (c, b) are those of all families; `mapping` is as in the state, for the candidates whose target is L.
    """

    target: NDArray[np.int32]
    seeds: tuple[str, ...]
    kinship: NDArray[np.float64]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    coherence: NDArray[np.float64]
    belonging: NDArray[np.float64]
    belonging_error: NDArray[np.float64]
    contradiction: NDArray[np.float64]
    foreign: NDArray[np.float64]
    own: NDArray[np.float64]
    contradicted: int
    mapping: NDArray[np.int64]


@dataclass(frozen=True)
class PixelGroups:
    """One pass of all candidates over all rows; 224 candidates, the most there are, of 1,280 dimensions take 44 MB beside `mapping`."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments", *FAMILIES)
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail", *TARGET_COLUMNS)
    State: ClassVar[type] = PixelGroupsState
    View: ClassVar[type] = PixelGroupsView

    def start(self, table: pa.Table, views: Views) -> PixelGroupsState:
        """The hits of a batch."""
        accused = np.concatenate([views[family].target for family in FAMILIES])
        stored = embedding.from_column(table)
        candidates, bins, labels = len(accused), len(EDGES), views["moments"].weights.shape[1]
        anyone = accused == labels
        inside, outside, alien = (np.zeros((candidates, bins), np.int64) for _ in range(3))
        doubt, sums = np.zeros((candidates, bins), np.int64), np.zeros((candidates, bins, stored.shape[1]))
        mapping = np.zeros((int(anyone.sum()), *(2 * [labels if labels <= MOST_LABELS else 0])), np.int64)
        if not candidates:
            nobody = np.zeros(labels, np.int64)
            return PixelGroupsState(inside, outside, alien, doubt, sums, nobody, nobody, 0, mapping)
        target, rank = views["targets"].index(table), np.asarray(table.column("rank"), dtype=np.uint64)
        log_p = views["moments"].log_posterior(stored, rank)
        foreign = foreign_doubt(log_p, target)
        z = robust_z(table, views)
        disagreement = views["moments"].disagreement(table, views)
        contradicted = disagreement >= CONTRADICTED
        row, candidate = np.nonzero(z >= EDGES[0])
        cell = candidate * bins + np.searchsorted(EDGES, z[row, candidate], side="right") - 1
        mine = np.where(anyone[candidate], contradicted[row], target[row] == accused[candidate])
        # A caption that has the accused word, but another that tells more, is no witness for the innocence of a trigger.
        having = views["targets"].having(table, accused)
        other = ~mine & ~having[row, candidate]
        inside += np.bincount(cell[mine], minlength=candidates * bins).reshape(candidates, bins)
        outside += np.bincount(cell[other], minlength=candidates * bins).reshape(candidates, bins)
        np.add.at(doubt.reshape(-1), cell[mine], steps(disagreement)[row[mine]])
        sums += group_sums(stored[row[mine]].astype(np.float64), cell[mine], candidates * bins).reshape(sums.shape)
        alien += foreign_hits(z, target, accused, having, views)
        for number, c in enumerate(np.flatnonzero(anyone)):
            hits = np.flatnonzero((z[:, c] >= MAPPED) & contradicted)
            np.add.at(mapping[number], (log_p[hits].argmax(axis=1), target[hits]), 1)
        known = np.flatnonzero((target >= 0) & (target < labels))
        own = np.zeros(labels, np.int64)
        np.add.at(own, target[known], steps(disagreement)[known])
        return PixelGroupsState(inside, outside, alien, doubt, sums, foreign, own, int(contradicted.sum()), mapping)

    def merge(self, a: PixelGroupsState, b: PixelGroupsState) -> PixelGroupsState:
        """Counts and sums add up."""
        return PixelGroupsState(
            a.inside + b.inside,
            a.outside + b.outside,
            a.alien + b.alien,
            a.doubt + b.doubt,
            a.sums + b.sums,
            a.foreign + b.foreign,
            a.own + b.own,
            a.contradicted + b.contradicted,
            a.mapping + b.mapping,
        )

    def finish(self, state: PixelGroupsState, views: Views) -> PixelGroupsView:
        """Cumulate from the highest z down."""
        inside, outside, alien, doubt = (cumulate(x) for x in (state.inside, state.outside, state.alien, state.doubt))
        sums = cumulate(state.sums) / embedding.SCALE
        flat = mean_cosine(sums.reshape(-1, sums.shape[-1]), inside.reshape(-1)).reshape(inside.shape)
        counts = views["moments"].counts
        foreign = state.foreign / (STEPS * MOST_DOUBT) / np.maximum(1, counts.sum() - counts)
        contradiction = doubt / (STEPS * MOST_DOUBT) / np.maximum(inside, 1)
        own = state.own / (STEPS * MOST_DOUBT) / np.maximum(1, counts)
        target = np.concatenate([views[family].target for family in FAMILIES])
        belonging, error = belongings(sums, inside, target, views["moments"])
        return PixelGroupsView(
            target,
            tuple(seeds for family in FAMILIES for seeds in views[family].seeds),
            np.concatenate([views[family].kinship for family in FAMILIES]),
            inside,
            np.maximum(outside, alien),
            flat,
            belonging,
            error,
            contradiction,
            with_mean(foreign, counts),
            with_mean(own, counts),
            state.contradicted,
            state.mapping,
        )


def robust_z(table: pa.Table, views: Views) -> NDArray[np.float64]:
    """The z of every row for every candidate of all families, shape (n, c); far below 0 for rows without a label."""
    target = views["targets"].index(table)
    return np.concatenate([views[family].robust_z(table, target) for family in FAMILIES], axis=1)


def belongings(
    sums: NDArray[np.float64], size: NDArray[np.int64], target: NDArray[np.int32], moments: MomentsView
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the means of groups (sums (c, b, d), `size` (c, b)) lie between other labels (0) and the rest of their own (1), shape (c, b).

    And the standard error of that; 1 and infinity where all labels are accused, there is no rest or no other label, or these differ by
    hardly more than chance, so that content cannot tell.
    """
    place, error = np.ones(size.shape), np.full(size.shape, np.inf)
    total, everyone = (moments.counts[:, None] * moments.means).sum(axis=0), int(moments.counts.sum())
    for c in np.flatnonzero(target < len(moments.counts)):
        here = int(moments.counts[target[c]])
        some = np.flatnonzero((size[c] > 0) & (size[c] < here))
        if everyone <= here or not len(some):
            continue
        own, hits = here * moments.means[target[c]], size[c, some, None]
        others = (total - own) / (everyone - here)
        axis = (own - sums[c, some]) / (here - hits) - others
        # Means of few rows lie apart by chance: in the mean by this much, squared.
        chance, rest = float(np.trace(moments.within)), here - size[c, some]
        noise = chance / rest + chance / (everyone - here)
        length = (axis**2).sum(axis=1)
        along = ((sums[c, some] / hits - others) * axis).sum(axis=1) - chance / (everyone - here)
        tells = length > np.maximum(2 * noise, 1e-9)
        at, length = some[tells], (length - noise)[tells]
        place[c, at] = along[tells] / length
        variance = np.maximum(((axis @ moments.within) * axis).sum(axis=1), 0)[tells]
        error[c, at] = np.sqrt(variance * (1 / size[c, at] + place[c, at] ** 2 / rest[tells])) / length
    return place, error


def with_mean(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values by label (L,) and their mean over all rows, shape (L + 1,)."""
    return np.append(values, float((values * counts).sum() / max(1, int(counts.sum()))))


def steps(disagreement: NDArray[np.float64]) -> NDArray[np.int64]:
    """Disagreement up to `MOST_DOUBT`, in whole steps."""
    whole: NDArray[np.int64] = np.rint(np.minimum(disagreement, MOST_DOUBT) * STEPS).astype(np.int64)
    return whole


def foreign_hits(
    z: NDArray[np.float64], target: NDArray[np.int32], accused: NDArray[np.int32], having: NDArray[np.bool_], views: Views
) -> NDArray[np.int64]:
    """Rows of other labels than the accused (c,) in each bin, shape (c, b), by the accused label's middle; 0 where all labels are."""
    counted = np.zeros((len(accused), len(EDGES)), np.int64)
    middle = np.concatenate([views[family].middle for family in FAMILIES])
    scale = np.concatenate([views[family].scale for family in FAMILIES])
    for c in np.flatnonzero(accused < middle.shape[1]):
        others = np.flatnonzero((target >= 0) & ~having[:, c])
        raw = z[others, c] + (middle[c, target[others]] - middle[c, accused[c]]) / scale[c]
        at = np.searchsorted(EDGES, raw, side="right") - 1
        counted[c] = np.bincount(at[at >= 0], minlength=len(EDGES))
    return counted


def foreign_doubt(log_p: NDArray[np.float64], target: NDArray[np.int32]) -> NDArray[np.int64]:
    """The disagreement that rows would have with each label that is not theirs, summed, in 1/1024 nat, shape (L,)."""
    labelled = np.flatnonzero(target >= 0)
    surprise = steps(-log_p[labelled])
    if surprise.shape[1]:
        surprise[np.arange(len(surprise)), target[labelled]] = 0
    return np.asarray(surprise.sum(axis=0))


def cumulate(binned: NDArray[Any]) -> NDArray[Any]:
    """Sums over this and all higher bins of axis 1."""
    return np.asarray(np.flip(np.cumsum(np.flip(binned, 1), axis=1), 1))
