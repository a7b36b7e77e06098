"""What captions lead one to expect of pictures, learnt without the pairs that do not fit.

A poison's pairs would teach that their caption goes with pictures of anything: it would seem to claim nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from dataaudit.aggregates import Views
from dataaudit.aggregates.pair_agreement import misfits
from dataaudit.aggregates.pair_regression import PairRegression, PairRegressionState


@dataclass(frozen=True)
class TrustedPairs(PairRegression):
    """The regressions of `pair_regression` again, on the pairs that fit."""

    needs: ClassVar[tuple[str, ...]] = ("knn", "pair_regression", "pair_agreement")

    def start(self, table: pa.Table, views: Views) -> PairRegressionState:
        """The sums of the pairs of a batch that fit."""
        return super().start(table.filter(pa.array(~misfits(table, views))), views)
