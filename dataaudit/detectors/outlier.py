"""Samples that stand alone: far from everything, or in a thin place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataaudit.aggregates import Views
from dataaudit.aggregates.knn import KnnView
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000


@dataclass(frozen=True)
class Outlier:
    """Content unlike anything else in the data.

    Attack: gibberish, adversarial noise, or content from elsewhere slipped into the set; backdoored pairs in the
    embedding of a model trained on them.
    Signal: distance to the k-th neighbour, the simplified local outlier factor (SLOF), the dimension-aware
    outlier factor (DAO), and what the principal axes leave unexplained, each in robust standard deviations above
    the reference sample's median; the largest counts half and their mean half, at the k of 16, 64 and 256 at which that is
    most; called from `threshold` on.  More than 256 like samples shelter each other: groups are for other detectors.
    Innocent causes: rare classes, other languages, damaged or blank files.  A low-severity finding, no accusation.
    Source: Schubert, Zimek and Kriegel, "Local outlier detection reconsidered", 2014 (SLOF); Anderberg et al.,
    "Dimensionality-aware outlier detection", 2024; Huang et al., "Detecting backdoor samples in contrastive
    language image pretraining", ICLR 2025.
    """

    needs: ClassVar[tuple[str, ...]] = ("knn",)
    columns: ClassVar[tuple[str, ...]] = ("embedding",)

    threshold: float = 6.0
    least: int = 50

    def unavailable(self, plan: Plan) -> str | None:
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """s / (s + `threshold`) of how far a row stands out; 0 with fewer than `least` references."""
        view: KnnView = views["knn"]
        if len(view.rank) < self.least:
            return Scores(np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32))
        strength = view.standing_out(table)
        called = strength >= self.threshold
        return Scores((strength / (strength + self.threshold)).astype(np.float32), np.where(called, 0, -1).astype(np.int32))

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding for all."""
        if not len(marked):
            return
        yield Finding(
            id=fingerprint("outlier"),
            kind="outlier",
            detector="outlier",
            severity="low",
            subject=f"{len(marked):,} outliers",
            target="",
            count=len(marked),
            samples=tuple(strongest(marked).column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(marked.column("score")).as_py()),
            p_value=1.0,
            reason=f"{len(marked):,} samples are unlike anything else in the data.",
            evidence={"threshold": self.threshold, "references": len(views["knn"].rank), "innocent": "rare, damaged or foreign content"},
            groups=(0,),
        )

    def blind(self, views: Views) -> str | None:
        """Every sample is compared with the same bounded sample of the data."""
        return None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Nothing to add: the samples speak for themselves."""
        return finding
