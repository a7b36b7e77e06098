"""Detectors look for one suspicious pattern each.

Adding one is one file here and one test of the same name: a frozen dataclass named like its module
(`token_trigger.py` -> `TokenTrigger`), whose fields are its settings and whose docstring says *attack,
signal, innocent causes, source*.  Nothing is registered; `available()` looks when called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.model import Finding, Plan, Sample


@dataclass(frozen=True)
class Scores:
    """What a detector says of a batch of n samples.

    `score` (n,) float32 in [0, 1], higher is worse, 0 where it has nothing to say; finely graded, since
    the order is used.  `group` (n,) int32 numbers the group (campaign candidate, duplicate cluster,
    odd label) that the sample belongs to within this detector's view, -1 for none.
    """

    score: NDArray[np.float32]
    group: NDArray[np.int32]


class Detector(Protocol):
    """One suspicious pattern."""

    needs: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, ...]]

    def unavailable(self, plan: Plan) -> str | None:
        """Why this detector cannot look at such data, or None where it can."""
        ...

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Score a batch of the feature table; a pure function, mapped over partitions."""
        ...

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """The findings behind the rows with group >= 0 (columns sample_id, target, digest, score, group), worst first.

        A finding's `groups` names the groups it is made of: the carriers of a campaign are all rows of these groups.
        """
        ...

    def blind(self, views: Views) -> str | None:
        """What part of such data this detector could not look at, or None where it saw all of it."""
        ...

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """A second look at a finding's strongest samples, re-read from the source: name or picture the trigger."""
        ...
