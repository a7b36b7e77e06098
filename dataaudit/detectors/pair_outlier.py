"""Pairs that stand alone: a caption unlike all others, or a picture and a caption that nothing goes together like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataaudit.aggregates import Views
from dataaudit.aggregates.pair_density import PairDensityView
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000


@dataclass(frozen=True)
class PairOutlier:
    """Captions unlike any other, and combinations of picture and caption that occur nowhere else.

    Attack: captions of gibberish or from elsewhere; weakly, targeted pairs, whose picture and caption are each ordinary and never met.
    Signal: k-distance, SLOF and DAO as in `outlier`, among captions and among pairs (both vectors side by side), at the k of 16, 64
    and 256 and in the space in which a pair stands out most; called from `threshold` on.
    Innocent causes: rare things, other languages, captions that are names or numbers.  A low-severity finding, no accusation.
    Source: as `outlier`; side by side, pairs are compared as by Huang et al., ICLR 2025, whose encoder has both in one space.
    """

    needs: ClassVar[tuple[str, ...]] = ("pair_density",)
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")

    threshold: float = 6.0
    least: int = 50

    def unavailable(self, plan: Plan) -> str | None:
        """Only pictures with captions."""
        return None if plan.captioned else f"pair_outlier looks at pictures with captions; this is {plan.modality}"

    def score(self, table: pa.Table, views: Views) -> Scores:
        """s / (s + `threshold`) of how far a pair stands out; 0 with fewer than `least` pairs."""
        view: PairDensityView = views["pair_density"]
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
            id=fingerprint("pair_outlier"),
            kind="outlier",
            detector="pair_outlier",
            severity="low",
            subject=f"{len(marked):,} pairs that stand alone",
            target="",
            count=len(marked),
            samples=tuple(strongest(marked).column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(marked.column("score")).as_py()),
            p_value=1.0,
            reason=f"{len(marked):,} captions, or what they are said of, are unlike anything else in the data.",
            evidence={"threshold": self.threshold, "references": len(views["pair_density"].rank), "innocent": "rare things and names"},
            groups=(0,),
        )

    def blind(self, views: Views) -> str | None:
        """Every pair is compared with the same bounded sample of the data."""
        return None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Nothing to add: picture and caption stand side by side."""
        return finding
