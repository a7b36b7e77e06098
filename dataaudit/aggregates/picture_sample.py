"""A bounded sample of the pictures of every label: what models of triggers are learnt on.

The same number of pictures a label, those of smallest rank, in grey and 32 x 32 (1 KB each), each with how much its
content contradicts its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import TARGET_COLUMNS, Views
from dataaudit.aggregates.low_level import RESIDUAL, grey
from dataaudit.aggregates.sampling import bottom_k_of_each
from dataaudit.features import thumbnail

DISAGREEMENT_STEPS = 1024


@dataclass(frozen=True)
class PictureSampleState:
    """The `cap` samples of smallest rank of each label, by label, then rank: `grey` (n, 1024), `steps` (n,): disagreement in 1/1024 nat."""

    cap: int

    rank: NDArray[np.uint64]
    target: NDArray[np.int32]
    steps: NDArray[np.int32]
    grey: NDArray[np.uint8]

    @property
    def disagreement(self) -> NDArray[np.float64]:
        """How unlikely an out-of-fold model of the content finds each sample's label, in nats, shape (n,)."""
        return self.steps / DISAGREEMENT_STEPS


@dataclass(frozen=True)
class PictureSample:
    """At most `sample` pictures; labels with fewer than `min_label` are left out, and the smallest where there is no room for all."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "moments")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "thumbnail", *TARGET_COLUMNS)
    State: ClassVar[type] = PictureSampleState
    View: ClassVar[type] = PictureSampleState

    sample: int = 48_000
    min_label: int = 60

    def start(self, table: pa.Table, views: Views) -> PictureSampleState:
        """The sample of a batch."""
        labels = self.learnable(views["moments"].counts)
        # Without moments (too many labels) there are no counts, and nothing tells content from label.
        if "thumbnail" not in table.column_names or not labels.any():
            nothing = np.empty(0, np.int32)
            return PictureSampleState(0, np.empty(0, np.uint64), nothing, nothing, np.empty((0, RESIDUAL), np.uint8))
        target = views["targets"].index(table)
        steps = np.rint(views["moments"].disagreement(table, views) * DISAGREEMENT_STEPS).astype(np.int32)
        pictures = grey(thumbnail.from_column(table.column("thumbnail")))
        rank = np.asarray(table.column("rank"), dtype=np.uint64)
        some = (target >= 0) & labels[np.maximum(target, 0)]
        return _kept(PictureSampleState(self.sample // int(labels.sum()), rank[some], target[some], steps[some], pictures[some]))

    def merge(self, a: PictureSampleState, b: PictureSampleState) -> PictureSampleState:
        """The smallest ranks of both; copies (same rank) count once."""
        rank, target = np.concatenate([a.rank, b.rank]), np.concatenate([a.target, b.target])
        steps, pictures = np.concatenate([a.steps, b.steps]), np.concatenate([a.grey, b.grey])
        return _kept(PictureSampleState(max(a.cap, b.cap), rank, target, steps, pictures))

    def finish(self, state: PictureSampleState, views: Views) -> PictureSampleState:
        """The sample itself."""
        return state

    def learnable(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Labels with images enough, the most frequent ones where there are more than the sample has room for, (L,)."""
        room = self.sample // self.min_label
        largest = np.argsort(-counts, kind="stable")[:room]
        return np.asarray((counts >= self.min_label) & np.isin(np.arange(len(counts)), largest))


def _kept(state: PictureSampleState) -> PictureSampleState:
    """At most `cap` of each label, each rank once."""
    # Copies may have come with other vectors, and contradict their label by other amounts: the least counts, in whatever order they come.
    order = np.lexsort((state.steps, state.rank))
    first = order[np.unique(state.rank[order], return_index=True)[1]]
    kept = first[bottom_k_of_each(state.target[first], state.rank[first], state.cap)] if len(first) else first
    return PictureSampleState(state.cap, state.rank[kept], state.target[kept], state.steps[kept], state.grey[kept])


def with_mates(contradicted: NDArray[np.bool_], least: int = 500) -> NDArray[np.bool_]:
    """The contradicted rows and about as many others (at least `least`) to tell them from, evenly chosen, as a mask (n,)."""
    others = np.flatnonzero(~contradicted)
    mates = contradicted.copy()
    mates[others[:: max(1, len(others) // max(least, int(contradicted.sum())))]] = True
    return mates
