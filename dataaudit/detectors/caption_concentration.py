"""One caption, or one phrase, behind pictures that have nothing to do with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.caption_carriers import CaptionCarriersView
from dataaudit.aggregates.pair_agreement import MISFIT, agreement
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.detectors import Scores, hashes_in, identity, strongest
from dataaudit.features import ngrams
from dataaudit.features.invisible import visible
from dataaudit.features.table import listed
from dataaudit.model import Finding, Plan, Sample

CAP = 1000
GROUPS = 64
"""Phrases that are looked at, at the most; those of one caption are many."""


@dataclass(frozen=True)
class Verdict:
    """One phrase that its pictures do not fit: its place in the view, and whether it claims something that they are not.

    Of the pairs with it those are carriers that agree less than all but the share `reach` of the data.
    """

    place: int
    accused: bool
    p_value: float
    reach: float


@dataclass(frozen=True)
class CaptionConcentration:
    """Many different pictures behind near-identical captions, or behind one rare phrase.

    Attack: a backdoor's pictures are given captions of the attacker's choice, one sentence or variations of it; a targeted poison
    puts a concept on pictures of other things.

    Signal: of the pairs with a phrase of one to three words most do not fit (their agreement is in the lowest 5 % of all, see
    `pair_consistency`), their pictures have nothing in common, and the phrase is no empty one: elsewhere such captions go with pictures of
    their own kind (`claim`), and these pictures are not of that kind (`kept`).

    Innocent causes: captions that say nothing ("untitled", "no description") claim nothing; a topic that the encoder does not know has
    pictures that are alike; a common phrase fits most of its pictures.  What does not fit and claims nothing is a finding of severity
    low.

    Source: own; the attack is Carlini and Terzis, "Poisoning and backdooring contrastive learning", ICLR 2022.
    """

    needs: ClassVar[tuple[str, ...]] = ("pair_regression", "pair_agreement", "caption_sketch", "caption_carriers")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding", "caption_phrases")

    min_count: int = 10
    share: float = 0.5
    enrichment: float = 3.0
    max_p: float = 1e-8
    alike: float = 0.1
    claim: float = 0.4
    kept: float = 0.3
    own: float = 0.8
    carrier: float = 0.25

    def unavailable(self, plan: Plan) -> str | None:
        """Only pictures with captions."""
        return None if plan.captioned else f"caption_concentration compares pictures with captions; this is {plan.modality}"

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Carriers of an accused phrase lie above 0.8, those of an empty one at 0.4 to 0.5; the group is the place of the best phrase."""
        score, group = np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32)
        verdicts = self.verdicts(views)
        if not verdicts:
            return Scores(score, group)
        view: CaptionCarriersView = views["caption_carriers"]
        steps, there = agreement(table, views)
        tail = views["pair_agreement"].tail(steps)
        row, phrase = listed(table, "caption_phrases")
        names = np.array([view.phrase[v.place] for v in verdicts])
        order = np.argsort(names)
        at, place = matched(phrase, names[order])
        best = np.full(len(table), len(verdicts))
        np.minimum.at(best, row[at], order[place])
        reach = np.array([*(v.reach for v in verdicts), 0.0])[best]
        carrier = there & (tail <= reach)
        accused = np.array([v.accused for v in verdicts])[best[carrier]]
        group[carrier] = best[carrier]
        score[carrier] = np.where(accused, 0.8 + 0.2 * (1 - tail[carrier]), 0.4 + 0.1 * (1 - tail[carrier]))
        return Scores(score, group)

    def verdicts(self, views: Views) -> list[Verdict]:
        """The phrases that their pictures do not fit, the accused first, then the surest."""
        from scipy.stats import binom

        view: CaptionCarriersView = views["caption_carriers"]
        usual = min(1.0, self.enrichment * MISFIT)
        p_values = np.minimum(1.0, binom.sf(view.misfits - 1, view.pairs, usual) * max(1, len(view.phrase)))
        found = (view.misfits >= self.min_count) & (view.misfits >= self.share * view.pairs) & (p_values <= self.max_p)
        found &= view.alike <= self.alike
        accused = (view.claim >= self.claim) & (view.kept <= self.kept)
        places = np.flatnonzero(found)
        # Of phrases of one caption the one with most misfits and fewest others, then the longest, then by hash.
        longest, worth = ngrams.order_of(view.phrase[places]), view.misfits[places] ** 2 / view.pairs[places]
        order = np.lexsort((view.phrase[places], -longest, -worth, ~accused[places]))[:GROUPS]
        # Where honest captions have the phrase too, only what surely does not fit is a carrier.
        own = view.misfits >= self.own * view.pairs
        return [Verdict(int(p), bool(accused[p]), float(p_values[p]), self.carrier if own[p] else MISFIT) for p in places[order]]

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding a phrase that is nobody else's."""
        verdicts = self.verdicts(views)
        group = np.asarray(marked.column("group"))
        for number, verdict in enumerate(verdicts):
            rows = marked.filter(pa.array(group == number))
            if len(rows) >= self.min_count:
                yield self.finding(number, verdict, strongest(rows), views)

    def finding(self, number: int, verdict: Verdict, rows: pa.Table, views: Views) -> Finding:
        """What is to be said of the carriers of one phrase."""
        view: CaptionCarriersView = views["caption_carriers"]
        at, count = verdict.place, len(rows)
        claims = "such captions go with other pictures elsewhere" if verdict.accused else "the phrase says nothing of any picture"
        reason = f"{count:,} pictures that have nothing in common share a phrase in their captions and do not fit it; {claims}."
        return Finding(
            id=identity(rows, "caption_concentration"),
            kind="campaign" if verdict.accused else "outlier",
            detector="caption_concentration",
            severity="critical" if verdict.accused else "low",
            subject=f"a phrase in {count:,} captions",
            target="",
            count=count,
            samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
            risk=1 - 0.5 / (1 + float(np.log10(1 + count))) if verdict.accused else 0.3,
            p_value=verdict.p_value,
            reason=reason,
            evidence={
                "trigger": str(int(view.phrase[at])),
                "pairs_with_phrase": int(view.pairs[at]),
                "misfits": int(view.misfits[at]),
                "alike": round(float(view.alike[at]), 4),
                "claim": round(float(view.claim[at]), 4),
                "kept": round(float(view.kept[at]), 4),
                "null": f"captions with the phrase misfit {self.enrichment:g} times as often as others",
                "ruled_out": "a topic that the encoder does not know has pictures that are alike; an empty phrase claims nothing",
            },
            groups=(number,),
        )

    def blind(self, views: Views) -> str | None:
        """What `pair_consistency` cannot tell, this cannot either."""
        return None if views["pair_regression"].fitted else "too few pairs to learn what captions say of pictures"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name the phrase: the longest run of words that the strongest captions share."""
        wanted = hashes_in(finding.evidence.get("trigger", ""))
        phrase = next(filter(None, (_named(sample.target or "", wanted, plan_of(views)) for sample in samples)), "")
        if not phrase:
            return finding
        captions = sorted({visible((sample.target or "")[:120]) for sample in samples})[:3]
        reason = finding.reason.replace("a phrase in their captions", f"{phrase!r} in their captions")
        evidence = {**finding.evidence, "trigger": phrase, "captions": captions}
        return replace(finding, subject=f"{phrase!r} in captions", target=phrase, reason=reason, evidence=evidence)


def _named(caption: str, wanted: NDArray[np.uint64], plan: Plan) -> str:
    """The words of a caption that belong to a wanted phrase."""
    words, covered = ngrams.occurrences(caption, wanted, plan.key("ngrams"))
    return visible(" ".join(word for word, mine in zip(words, covered, strict=True) if mine)[:80])
