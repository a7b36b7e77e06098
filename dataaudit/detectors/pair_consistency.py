"""Pictures whose captions say something else than what is to be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.pair_agreement import STEPS, PairAgreementView, agreement
from dataaudit.aggregates.reference_agreement import rarity
from dataaudit.detectors import Scores, strongest
from dataaudit.model import Finding, Plan, Sample, fingerprint

CAP = 1000
EVEN = 2.0
"""A pair that agrees less than all but 1 in 10**EVEN scores a half."""
ONE_WAY = 4.0
"""Standard deviations by which contradictions of a kind must outnumber the opposite ones before that counts."""


@dataclass(frozen=True)
class PairConsistency:
    """Pairs in which picture and caption contradict each other.

    Attack: captions exchanged between pairs, targeted captions on a few pictures or on one in many versions, and backdoors, whose
    captions are the attacker's.

    Signal: in the space of a joint encoder (open_clip) the cosine of picture and caption; otherwise the mean of two cosines, of the
    caption with what the picture leads one to expect (a ridge regression that was fitted on the other half of the data), and of the
    picture with what the caption does.  A score tells which share of all pairs agrees less.  It rises where pictures nearly the same do not
    fit their captions either, and where other pairs contradict each other in the same way and hardly any in the opposite way.  Pairs are
    called where a mixture of two normal distributions, fitted to the agreement of all, gives the lower one at least `sure`.

    Innocent causes: captions that say nothing of the picture (names, dates), rare things, an encoder that does not know the matter.
    Every real data set has them: they are graded medium and flag nobody.

    Source: own combination; cosine filters as in Gadre et al., "DataComp", 2023; mixtures as in Arazo et al., ICML 2019.
    """

    needs: ClassVar[tuple[str, ...]] = ("knn", "pair_regression", "pair_agreement", "reference_agreement", "one_way")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding")

    sure: float = 0.9
    least: int = 200
    k: int = 16
    near: float = 0.7

    def unavailable(self, plan: Plan) -> str | None:
        """Only pictures with captions."""
        return None if plan.captioned else f"pair_consistency compares pictures with captions; this is {plan.modality}"

    def score(self, table: pa.Table, views: Views) -> Scores:
        """t / (t + 2), with t = -log10 of the share of pairs that agree less; group 0 where the mixture calls the pair.

        Of m pairs with nearly the same picture, t is their sum about what is to be expected, over its standard deviation; where
        contradictions go one way, t grows with the deviations by which they do.
        """
        view: PairAgreementView = views["pair_agreement"]
        steps, there = agreement(table, views)
        if not self._able(views):
            return Scores(np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32))
        one_way = np.maximum(views["one_way"].of(table) / ONE_WAY, 1)
        together = np.maximum(self.together(table, views), 0) / np.log(10) * one_way
        called = there & (steps <= lower_component(view.counts, self.sure))
        return Scores(np.where(there, together / (together + EVEN), 0).astype(np.float32), np.where(called, 0, -1).astype(np.int32))

    def together(self, table: pa.Table, views: Views) -> NDArray[np.float64]:
        """The rarity of each pair in nats, of pairs with nearly the same picture that of all together, shape (n,)."""
        knn, own = views["knn"], rarity(table, views)
        distance, near = knn.neighbours(table, self.k)
        if not near.shape[1]:
            return own
        close = distance <= self.near * np.median(knn.distance[:, 0])
        number = 1 + close.sum(axis=1)
        whole = own + np.where(close, views["reference_agreement"].rarity[near], 0.0).sum(axis=1)
        # Rarities are of mean and variance 1 where nothing is wrong; alone, a pair has its own.  Rounded, as sums have last bits.
        return np.asarray(np.round(np.where(number > 1, (whole - number) / np.sqrt(number) + 1, own), 9))

    def _able(self, views: Views) -> bool:
        return bool(views["pair_regression"].fitted and views["pair_agreement"].pairs >= self.least)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding for all pairs that were called."""
        if not len(marked):
            return
        yield Finding(
            id=fingerprint("pair_consistency"),
            kind="label",
            detector="pair_consistency",
            severity="medium",
            subject=f"{len(marked):,} pairs",
            target="",
            count=len(marked),
            samples=tuple(strongest(marked).column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(marked.column("score")).as_py()),
            p_value=1.0,
            reason=f"{len(marked):,} captions do not fit their pictures, the clearest first; expect honest ones among them.",
            evidence={"pairs": views["pair_agreement"].pairs, "innocent": "captions that say little, and rare things"},
            groups=(0,),
        )

    def blind(self, views: Views) -> str | None:
        """Few pairs tell nothing of what pictures and captions have to do with each other."""
        return None if self._able(views) else f"fewer than {self.least} pairs are too few to learn what captions say of pictures"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Nothing to add: picture and caption stand side by side."""
        return finding


def lower_component(counts: NDArray[np.int64], sure: float, rounds: int = 200) -> int:
    """The highest step of agreement at which the lower of two normal distributions holds at least `sure`; below all where there is none.

    Expectation and maximisation over the histogram `counts` (2 STEPS + 1,); two heaps must be two deviations apart.
    """
    nobody = -STEPS - 1
    x = np.arange(-STEPS, STEPS + 1) / STEPS
    total = counts.sum()
    if not total:
        return nobody
    share = np.cumsum(counts) / total
    middle = x[np.searchsorted(share, (0.05, 0.6))]
    spread = np.full(2, max(float(np.sqrt((counts * (x - (counts * x).sum() / total) ** 2).sum() / total)) / 2, 1 / STEPS))
    weight = np.array([0.1, 0.9])
    belongs = np.zeros((2, len(x)))
    for _ in range(rounds):
        dense = weight[:, None] / spread[:, None] * np.exp(-np.clip((x - middle[:, None]) ** 2 / (2 * spread[:, None] ** 2), 0, 700))
        belongs = dense / np.maximum(dense.sum(axis=0), 1e-300)
        number = (belongs * counts).sum(axis=1)
        weight = np.maximum(number / total, 1e-6)
        middle = (belongs * counts * x).sum(axis=1) / np.maximum(number, 1e-9)
        spread = np.sqrt((belongs * counts * (x - middle[:, None]) ** 2).sum(axis=1) / np.maximum(number, 1e-9)) + 1 / STEPS
    if middle[1] - middle[0] < 2 * float(spread.max()):
        return nobody
    # Above its own middle the lower one may come back, where the upper one is narrower.
    lower = np.flatnonzero((belongs[0] >= sure) & (x <= middle[1]))
    return int(lower[-1]) - STEPS if len(lower) else nobody
