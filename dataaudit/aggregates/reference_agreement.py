"""How well picture and caption agree in each reference of `knn`: what stands around a pair, and whether that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.pair_agreement import agreement
from dataaudit.aggregates.sorted_arrays import matched


@dataclass(frozen=True)
class ReferenceAgreementState:
    """`rarity` (m,) of the references `at` (m,), ascending: -ln of the share of all pairs that agree less."""

    at: NDArray[np.int64]
    rarity: NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceAgreementView:
    """`rarity` (n,) of every reference, 0 where it has no caption."""

    rarity: NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceAgreement:
    """One number a reference, half a megabyte."""

    needs: ClassVar[tuple[str, ...]] = ("knn", "pair_regression", "pair_agreement")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")
    State: ClassVar[type] = ReferenceAgreementState
    View: ClassVar[type] = ReferenceAgreementView

    def start(self, table: pa.Table, views: Views) -> ReferenceAgreementState:
        """The references among the rows of a batch."""
        row, at = matched(np.asarray(table.column("rank"), dtype=np.uint64), views["knn"].rank)
        return _distinct(at.astype(np.int64), rarity(table, views)[row])

    def merge(self, a: ReferenceAgreementState, b: ReferenceAgreementState) -> ReferenceAgreementState:
        """All of both; copies have the same rarity."""
        return _distinct(np.concatenate([a.at, b.at]), np.concatenate([a.rarity, b.rarity]))

    def finish(self, state: ReferenceAgreementState, views: Views) -> ReferenceAgreementView:
        """By reference."""
        found = np.zeros(len(views["knn"].rank))
        found[state.at] = state.rarity
        return ReferenceAgreementView(found)


def rarity(table: pa.Table, views: Views) -> NDArray[np.float64]:
    """-ln of the share of all pairs that agree less than each of a batch, shape (n,): 1 on average; 0 without a caption."""
    steps, there = agreement(table, views)
    return np.where(there, -np.log(views["pair_agreement"].tail(steps)), 0.0)


def _distinct(at: NDArray[np.int64], rarity: NDArray[np.float64]) -> ReferenceAgreementState:
    # The largest counts where copies were embedded differently, so that no order of the batches shows.
    order = np.lexsort((-rarity, at))
    found, first = np.unique(at[order], return_index=True)
    return ReferenceAgreementState(found, rarity[order][first])
