"""Pictures that stand apart in the eyes of a small model which learnt the suspect data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataaudit.aggregates import Views
from dataaudit.aggregates.proxy_density import ProxyDensityView
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000


@dataclass(frozen=True)
class Proxy:
    """Pictures that lie where a small CLIP, trained on the same data, sees hardly anything else.

    Attack: backdoors that no frozen encoder sees, since only a model which learnt them reacts to their trigger.
    Signal: k-distance, SLOF and DAO as in `outlier`, among 256 neighbours in the space of a proxy that learnt all pairs for a short while;
    called from `threshold` on.  Runs where `--proxy` asks for it.
    Innocent causes: rare things, and whatever a small model did not learn.  A low-severity finding, no accusation.
    Source: Huang et al., "Detecting backdoor samples in contrastive language image pretraining", ICLR 2025, who look at the victim itself;
    the small stand-in is our own.
    """

    needs: ClassVar[tuple[str, ...]] = ("proxy_density",)
    columns: ClassVar[tuple[str, ...]] = ("proxy_embedding",)

    threshold: float = 6.0
    least: int = 1_000

    def unavailable(self, plan: Plan) -> str | None:
        """Only where a proxy was trained."""
        if not plan.pictures or plan.target_kind == "none":
            return f"a proxy learns from pictures with captions or labels; this is {plan.modality}"
        return None if plan.proxy else "no proxy was asked for (--proxy)"

    def score(self, table: pa.Table, views: Views) -> Scores:
        """s / (s + `threshold`) of how far a picture stands out; 0 with fewer than `least` of them."""
        view: ProxyDensityView = views["proxy_density"]
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
            id=fingerprint("proxy"),
            kind="outlier",
            detector="proxy",
            severity="low",
            subject=f"{len(marked):,} pictures that a model trained on them sees apart",
            target="",
            count=len(marked),
            samples=tuple(strongest(marked).column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(marked.column("score")).as_py()),
            p_value=1.0,
            reason=f"{len(marked):,} pictures lie where a small model that was trained on the data sees hardly anything else.",
            evidence={"threshold": self.threshold, "references": len(views["proxy_density"].rank), "innocent": "rare things"},
            groups=(0,),
        )

    def blind(self, views: Views) -> str | None:
        """Few pictures teach a model nothing."""
        few = len(views["proxy_density"].rank) < self.least
        return f"fewer than {self.least:,} pictures teach a proxy nothing" if few else None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Nothing to add: picture and caption stand side by side."""
        return finding
