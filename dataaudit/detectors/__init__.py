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
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.model import Finding, Plan, Sample, fingerprint


@dataclass(frozen=True)
class Scores:
    """What a detector says of a batch of n samples.

    `score` (n,) float32 in [0, 1], higher is worse, 0 where it has nothing to say; finely graded, since
    the order is used.  `group` (n,) int32 numbers the group (campaign candidate, duplicate cluster,
    odd label) that the sample belongs to within this detector's view, -1 for none.
    """

    score: NDArray[np.float32]
    group: NDArray[np.int32]


def strongest(marked: pa.Table, group: int | None = None) -> pa.Table:
    """The rows of a group, or all, the highest score first; equals by id."""
    rows = marked if group is None else marked.filter(pc.equal(marked.column("group"), group))
    return rows.sort_by([("score", "descending"), ("sample_id", "ascending")])


def identity(rows: pa.Table, *what: str) -> str:
    """A finding's id, made of what it is and of its rows' contents."""
    return fingerprint(*what, *sorted(set(rows.column("digest").to_pylist()))[:64])


def hashes_in(evidence: object) -> NDArray[np.uint64]:
    """The hashes that a finding's evidence lists, until `describe` puts words in their place."""
    return np.array([int(h) for h in str(evidence).split()], dtype=np.uint64)


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
