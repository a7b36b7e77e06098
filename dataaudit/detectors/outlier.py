"""Samples that stand alone: far from everything, or in a thin place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.knn import KnnView, intrinsic_dimension
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
    the reference sample's median; the largest counts half and their mean half; called from `threshold` on.
    More than `k` like samples shelter each other: groups are for other detectors.
    Innocent causes: rare classes, other languages, damaged or blank files.  A low-severity finding, no accusation.
    Source: Schubert, Zimek and Kriegel, "Local outlier detection reconsidered", 2014 (SLOF); Anderberg et al.,
    "Dimensionality-aware outlier detection", 2024; Huang et al., "Detecting backdoor samples in contrastive
    language image pretraining", ICLR 2025.
    """

    needs: ClassVar[tuple[str, ...]] = ("knn",)
    columns: ClassVar[tuple[str, ...]] = ("embedding",)

    k: int = 16
    threshold: float = 6.0
    least: int = 50

    def unavailable(self, plan: Plan) -> str | None:
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Robust z of the four measures; 0 with fewer than `least` references."""
        view: KnnView = views["knn"]
        if len(view.rank) < self.least:
            return Scores(np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32))
        own = measures(*view.neighbours(table, self.k), view, self.k)
        usual = measures(view.distance[:, : self.k], view.near[:, : self.k].astype(np.int64), view, self.k)
        own = np.column_stack([own, view.unexplained(table)])
        usual = np.column_stack([usual, view.off_axes])
        z = np.maximum(robust_z(own, usual), 0)
        strength = (z.max(axis=1) + z.mean(axis=1)) / 2
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


def measures(distance: NDArray[np.float32], near: NDArray[np.int64], view: KnnView, k: int) -> NDArray[np.float64]:
    """The logarithms of k-distance and SLOF, and DAO, shape (n, 3), from neighbours (n, k) of each row."""
    floor = 1 / 4096
    own = np.maximum(distance[:, -1].astype(np.float64), floor)
    theirs = np.maximum(view.distance[:, : distance.shape[1]][:, -1].astype(np.float64), floor)
    dimension = intrinsic_dimension(view.distance[:, :k]).astype(np.float64)
    return np.column_stack([np.log(own), np.log(slof(own, theirs[near])), dao(own, theirs[near], dimension[near])])


def slof(own: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Simplified local outlier factor: the mean of d_k(x) / d_k(o) over the neighbours o; own (n,), theirs (n, k)."""
    return np.asarray(np.mean(own[:, None] / theirs, axis=1))


def dao(own: NDArray[np.float64], theirs: NDArray[np.float64], dimension: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dimension-aware outlier factor: the mean of LID(o) * ln(d_k(x) / d_k(o)) over the neighbours o."""
    return np.asarray(np.mean(dimension * np.log(own[:, None] / theirs), axis=1))


def robust_z(values: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (n, m) in robust standard deviations above the medians of `usual` (r, m); 0 where these are all alike."""
    middle = np.median(usual, axis=0)
    spread = 1.4826 * np.median(np.abs(usual - middle), axis=0)
    return np.where(spread > 0, (values - middle) / np.maximum(spread, 1e-6), 0.0)
