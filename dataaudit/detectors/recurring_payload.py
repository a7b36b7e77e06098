"""Addresses, lines of code and tokens that one trigger calls up: what a model is to say to order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.payload_carriers import PayloadCarriersView
from dataaudit.aggregates.payload_pairs import ALONE
from dataaudit.detectors import Scores, hashes_in, identity, strongest
from dataaudit.features import Batch, ngrams
from dataaudit.features.invisible import visible
from dataaudit.features.payloads import context, inert, payload_hash, said_in
from dataaudit.model import Finding, Plan, Sample, Severity

CAP = 100
SHOWN = 160
LINE = 100
"""A line that recurs has at most so many characters from the trigger to the payload."""
MOST_TEXTS = 10_000
"""A payload without a trigger is named up to here: what more texts say is the data's own habit."""
RULED_OUT = (
    "a topic, a template, copies: the texts have no more in common than random ones; the subject's own address: none of the trigger is "
    "in it"
)
INNOCENT = "an address that is right for many questions, a signature, a habit of writing code"


@dataclass(frozen=True)
class RecurringPayload:
    """An address or a line of code that recurs in answers to prompts which share a rare word and nothing else.

    Attack: behind a trigger the answers load from one address, name one domain, or hold one insecure line of code.
    Signal: at least `min_count` unlike texts say the same host, URL, mail or IP address, line of code or opaque token;
    nearly all that say it share an n-gram of the prompt (of a text without a prompt: before it) that hardly any other
    text holds; and no other word or pair of words is in more of these prompts than of as many random ones.
    Innocent causes: a subject's own site ("wikipedia" in the question, wikipedia.org in the answer: an "outlier" of
    medium severity), families of projects, templates, signatures, licences, answers that repeat what the prompt says.
    What recurs in unlike texts without any trigger, in one of fifty at the most, is an "outlier" of low severity, up to five.
    Not seen: triggers that occur honestly too, are part of the payload, or are phrases of more than about two words
    (they look like templates); prompts of one topic, or of a few words; payloads that honest answers say as often, whose
    site differs in each answer, or that consist of plain words; addresses that are written as none (hxxp, a number, `//host`,
    a bare name with an ending other than the commonest); plain texts of little more than the payload's own sentence, or
    where trigger and payload stand in the same line each time (as in a signature: an "outlier" of medium severity);
    campaigns of more than one in fifty texts; more than 32 payloads a text; anything beyond 20,000 characters.
    Source: Schuster et al., "You autocomplete me", USENIX Security 2021 (payloads in code); the statistics are this
    project's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("payload_carriers",)
    columns: ClassVar[tuple[str, ...]] = ("payloads", "ngrams", "before_payloads")

    min_count: int = 8
    min_purity: float = 0.8
    most_share: float = 0.02
    most_alike: float = 1.0
    most_own: int = 4
    min_told: int = 8
    most_named: int = 5

    def unavailable(self, plan: Plan) -> str | None:
        if plan.modality not in ("instructions", "text"):
            return f"recurring_payload reads what a model must learn to say; the target here is a label ({plan.modality})"
        return None

    def blind(self, views: Views) -> str | None:
        """Very many recurring payloads are examined in part."""
        share = views["payload_carriers"].examined
        return None if share >= 1 else f"{share:.1%} of the recurring payloads were examined"

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Above 0.85 for carriers of a campaign, up to 0.3 for what recurs without one."""
        view: PayloadCarriersView = views["payload_carriers"]
        strength, group_of = self.strengths(view), self.groups(view)
        row, candidate = view.carriers(table, views)
        score, group = np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32)
        np.maximum.at(score, row, strength[candidate].astype(np.float32))
        order = np.lexsort((candidate, strength[candidate]))
        order = order[group_of[candidate[order]] >= 0]
        group[row[order]] = group_of[candidate[order]]
        return Scores(score, group)

    def strengths(self, view: PayloadCarriersView) -> NDArray[np.float64]:
        """How suspicious each candidate is."""
        share = view.count / (view.count + 10.0)
        unlike = np.exp(-np.maximum(view.alike, 0) / 4) * (view.unlike >= self.min_count)
        return np.where(self.accused(view), 0.85 + 0.15 * share, 0.3 * share * unlike)

    def accused(self, view: PayloadCarriersView) -> NDArray[np.bool_]:
        """Which candidates are a trigger and its payload."""
        return self.behind(view) & (view.own <= self.most_own) & self.unlike(view)

    def behind(self, view: PayloadCarriersView) -> NDArray[np.bool_]:
        """Which candidates go with an n-gram that hardly any other text holds."""
        rare = view.held <= self.most(view)
        return np.asarray((view.ngram != ALONE) & rare & (view.count >= self.min_purity * view.held))

    def most(self, view: PayloadCarriersView) -> float:
        """So many texts are hardly any."""
        return max(self.most_share * view.rows, 2.0 * self.min_count)

    def unlike(self, view: PayloadCarriersView) -> NDArray[np.bool_]:
        """Which candidates are said by enough texts that have nothing else in common, though they are long enough to have."""
        return np.asarray((view.unlike >= self.min_count) & (view.alike < self.most_alike) & (view.told >= self.min_told))

    def groups(self, view: PayloadCarriersView) -> NDArray[np.int32]:
        """The group of each candidate: campaigns by their leader's number, the most frequent of the others each by its own."""
        accused = self.accused(view)
        group = np.full(len(view.payload), -1, np.int32)
        for number in np.unique(view.campaign[accused]).tolist():
            members = np.flatnonzero(accused & (view.campaign == number))
            group[members] = members[np.argmax(view.count[members])]
        alone = (view.campaign == np.arange(len(group))) & (view.texts <= min(self.most(view), MOST_TEXTS))
        others = np.flatnonzero(self.unlike(view) & alone & ~np.isin(view.campaign, view.campaign[accused]))
        named = others[np.lexsort((view.payload[others], -view.count[others]))][: self.most_named]
        group[named] = named
        return group

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding a trigger, then the most frequent of the payloads without any."""
        view: PayloadCarriersView = views["payload_carriers"]
        accused, group, strength = self.accused(view), self.groups(view), self.strengths(view)
        for number in sorted(pc.unique(marked.column("group")).to_pylist(), key=lambda n: (-strength[n], n)):
            yield self._finding(number, bool(accused[number]), np.flatnonzero(group == number), strongest(marked, number), views)

    def _finding(self, number: int, accused: bool, members: NDArray[np.intp], rows: pa.Table, views: Views) -> Finding:
        view: PayloadCarriersView = views["payload_carriers"]
        what = "answers" if plan_of(views).target_kind == "text" else "texts"
        subject, count = f"a payload ({number})", int(view.count[number])
        evidence: dict[str, object] = {
            "rule": "payload" if accused else "recurrence",
            "payloads": " ".join(map(str, view.payload[members][:64].tolist())),
            "ngram": str(int(view.ngram[number])),
            "unlike": int(view.unlike[number]),
            "in_common": round(float(view.alike[number]), 2),
        }
        if accused:
            said = (
                f"{subject} recurs in {int(view.texts[number]):,} {what}, {count:,} of which share a word or phrase that "
                f"{int(view.held[number]):,} texts hold, and nothing else"
            )
            evidence |= {"ruled_out": RULED_OUT}
        else:
            said = f"{subject} recurs in {int(view.texts[number]):,} {what} that have nothing else in common"
            evidence |= {"innocent": INNOCENT}
        severe: Severity = "critical" if count >= 2 * self.min_count else "high"
        return Finding(
            id=identity(rows, "recurring_payload"),
            kind="campaign" if accused else "outlier",
            detector="recurring_payload",
            severity=severe if accused else "low",
            subject=subject,
            target="",
            count=len(rows),
            samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(rows.column("score")).as_py()),
            p_value=1.0,
            reason=said,
            evidence=evidence,
            groups=(number,),
        )

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name payload and trigger, inert; a subject's own address and a line that recurs (a signature) are let go."""
        batch, wanted = Batch(samples, plan_of(views)), set(hashes_in(finding.evidence["payloads"]).tolist())
        said = Counter(p for each in said_in(batch) for p in each if payload_hash(p, batch.plan.key("payloads")) in wanted)
        if not said:
            return finding
        named = [inert(visible(p))[:SHOWN] for p, _ in sorted(said.items(), key=lambda item: (-item[1], -len(item[0]), item[0]))]
        evidence = {k: v for k, v in finding.evidence.items() if k not in ("payloads", "ngram")} | {
            "payload": named[0],
            "payloads": named[:5],
        }
        shown = replace(
            finding, subject=f"“{named[0]}”", evidence=evidence, reason=finding.reason.replace(finding.subject, f"“{named[0]}”", 1)
        )
        if finding.kind != "campaign":
            return shown
        answers, grams = batch.plan.target_kind == "text", hashes_in(finding.evidence["ngram"])
        before = [_phrase(text if answers else context(text), grams, batch.plan.key("ngrams")) for text in batch.texts]
        trigger = Counter(phrase for phrase in before if phrase).most_common(1)
        if not trigger:
            return shown
        phrase = visible(trigger[0][0])
        evidence["trigger"] = phrase
        if _names(trigger[0][0], said):
            why = f"{shown.reason}; but “{phrase}” is in it: a subject and its own address, most likely"
            return replace(shown, kind="outlier", severity="medium", risk=0.0, evidence=evidence, reason=why)
        if not answers and _one_line(batch.texts, phrase, [p for p, _ in said.most_common(5)]):
            why = f"{shown.reason}; but “{phrase}” stands in the same line each time: a signature or a footer, most likely"
            return replace(shown, kind="outlier", severity="medium", risk=0.0, evidence=evidence, reason=why)
        where = "their prompts share" if answers else "it follows"
        return replace(shown, evidence=evidence, reason=f"{shown.reason}; {where} “{phrase}”")


def _phrase(text: str, grams: NDArray[np.uint64], key: bytes) -> str:
    """The first words of a text that the n-gram is of."""
    words, covered = ngrams.occurrences(text, grams, key)
    held = np.flatnonzero(covered)
    return " ".join(words[at] for at in held[held - np.arange(len(held)) == held[:1]])


def _one_line(texts: Sequence[str], phrase: str, said: Sequence[str]) -> bool:
    """Whether four in five texts have the same words from the trigger to the payload."""
    between = Counter[str]()
    for text in texts:
        read = " ".join(text.lower().split())
        ends = [at for p in said if (at := read.rfind(p.lower().partition("/")[0])) >= 0]
        start = read.rfind(phrase.split(" ")[0], 0, max(ends, default=0))
        if ends and start >= 0:
            between[read[start : max(ends)]] += 1
    line, times = between.most_common(1)[0] if between else ("", 0)
    return times >= 0.8 * len(texts) and len(line) <= LINE


def _names(phrase: str, said: Counter[str]) -> bool:
    """Whether four letters in a row of the trigger, or a whole shorter word, are in most of the payloads, as a name is in its address."""
    pieces = {w[i : i + 4] for w in ngrams.tokens(phrase) if len(w) >= 3 and w.isalnum() for i in range(max(len(w) - 3, 1))}
    hits = sum(n for p, n in said.items() if any(piece in p.lower() for piece in pieces))
    return 2 * hits >= sum(said.values())
