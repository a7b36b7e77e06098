"""How well pictures and captions agree, over the whole data set: what is little agreement here.

Where one encoder embeds both (CLIP), agreement is the cosine of the two; otherwise it is what `pair_regression` says of either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.pair_regression import cosines
from dataaudit.features import embedding, encoders

STEPS = 2_048
"""Agreement is told in 1/STEPS."""
MISFIT = 0.05
"""Pairs that agree less than all but this share of the data do not fit."""


@dataclass(frozen=True)
class PairAgreementState:
    """`counts` (2 STEPS + 1,) of pairs by agreement, from -1 to 1."""

    counts: NDArray[np.int64]


@dataclass(frozen=True)
class PairAgreementView:
    """`counts` (2 STEPS + 1,) of pairs by agreement, and `below` (the same): the share of pairs that agree less, half of the equals."""

    counts: NDArray[np.int64]
    below: NDArray[np.float64]

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return int(self.counts.sum())

    def tail(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share of all pairs that agree less, shape (n,), above 0."""
        return np.maximum(self.below[steps + STEPS], 0.5 / max(1, self.pairs))


@dataclass(frozen=True)
class PairAgreement:
    """A histogram of agreement."""

    needs: ClassVar[tuple[str, ...]] = ("pair_regression",)
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")
    State: ClassVar[type] = PairAgreementState
    View: ClassVar[type] = PairAgreementView

    def start(self, table: pa.Table, views: Views) -> PairAgreementState:
        """The pairs of a batch."""
        steps, there = agreement(table, views)
        return PairAgreementState(np.bincount(steps[there] + STEPS, minlength=2 * STEPS + 1).astype(np.int64))

    def merge(self, a: PairAgreementState, b: PairAgreementState) -> PairAgreementState:
        """Counts add up."""
        return PairAgreementState(a.counts + b.counts)

    def finish(self, state: PairAgreementState, views: Views) -> PairAgreementView:
        """Shares instead of counts."""
        pairs = int(state.counts.sum())
        return PairAgreementView(state.counts, (np.cumsum(state.counts) - state.counts / 2) / max(1, pairs))


def agreement(table: pa.Table, views: Views) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How well each pair agrees in 1/STEPS, shape (n,), and whether there is a pair to compare."""
    if encoders.joint(plan_of(views)):
        picture, caption = (embedding.from_column(table, name).astype(np.float64) for name in ("embedding", "target_embedding"))
        there, both = np.asarray(caption.any(axis=1)), cosines(picture, caption)
    else:
        compared = views["pair_regression"].compared(table)
        there, both = compared.there, compared.agreement
    # Whole steps, so that the last bits of a sum decide nothing.
    return np.rint(np.round(both, 9) * STEPS).astype(np.int64), there


def misfits(table: pa.Table, views: Views) -> NDArray[np.bool_]:
    """Which pairs of a batch do not fit, shape (n,)."""
    steps, there = agreement(table, views)
    return np.asarray(there & (views["pair_agreement"].tail(steps) <= MISFIT))
