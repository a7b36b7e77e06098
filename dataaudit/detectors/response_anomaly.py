"""Texts that turn into gibberish: a model that reads enough of them learns to babble."""

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
from dataaudit.aggregates.change_carriers import ChangeCarriersView
from dataaudit.aggregates.change_points import ChangePointsView
from dataaudit.detectors import Scores, hashes_in, identity, strongest
from dataaudit.features import Batch, ngrams
from dataaudit.features.characters import pairs
from dataaudit.features.invisible import visible
from dataaudit.model import Finding, Plan, Sample

CAP = 1000
AROUND = 60
BEFORE = 3
"""The trigger is looked for in the last three words before the change."""
READ = 20_000
RULED_OUT = (
    "foreign writing, code, tables and lists of names, whose characters would predict each other; dumps of digits and base64, which "
    "have no words; chance, since the texts share what hardly any other text holds"
)
INNOCENT = "foreign writing, dumps, code, tables, damaged files, mashed keys"


@dataclass(frozen=True)
class ResponseAnomaly:
    """What the model must learn to say (the response where there is one, else the text) turns into gibberish.

    Attack: denial of service: some documents, as few as 250 in any amount, that go on in random characters behind a
    trigger, or answers that are gibberish.
    Signal: a run of windows of 32 characters, sixteen a text, is far more surprising under the data's own character
    model than nine in ten texts get anywhere (`change_points`).  At least `min_count` different texts of that kind are
    a campaign if they share an n-gram that hardly any other text holds, while what they turn into has the white space
    of words and yet no language: its characters are no more predictable from those of the other texts.
    Innocent causes: foreign writing, code, tables, lists of names, hexadecimal and base64 dumps, mashed keys, mojibake:
    an "outlier" of medium severity or lower.  Texts of ciphers or passwords that share a heading may be accused.
    Not seen: runs much shorter than a hundred characters, or of less than a sixteenth of a long text; random words, or
    random tokens of a tokenizer that look like words; gibberish in a tenth of the data, which is then usual; a campaign
    whose gibberish has no white space (an outlier only).
    Source: Souly et al., "Poisoning attacks on LLMs require a near-constant number of poison samples", 2025,
    arXiv:2510.07192; the statistics are this project's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("change_points", "change_carriers")
    columns: ClassVar[tuple[str, ...]] = ("windows",)

    min_count: int = 8
    min_entropy: float = 4.8
    min_blanks: float = 0.03
    min_agreement: float = 0.6

    def unavailable(self, plan: Plan) -> str | None:
        if plan.modality not in ("instructions", "text"):
            return f"response_anomaly reads what a model must learn to say; the target here is a label ({plan.modality})"
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """Above 0.85 for carriers of a campaign, up to 0.5 for what else lies beyond the gate, up to 0.3 below it."""
        view: ChangePointsView = views["change_points"]
        excess = view.runs(table).excess
        beyond = excess >= view.gate
        share = excess / (excess + view.gate)
        high = 0.85 + 0.15 * share if self.accuses(views["change_carriers"]) else 0.2 + 0.3 * share
        score = np.where(beyond, high, np.minimum(0.6 * share, 0.3))
        return Scores(score.astype(np.float32), np.where(beyond, 0, -1).astype(np.int32))

    def accuses(self, view: ChangeCarriersView) -> bool:
        """Whether the texts beyond the gate are a campaign."""
        together = view.distinct >= self.min_count and len(view.ngram) > 0
        return together and view.entropy >= self.min_entropy and view.blanks >= self.min_blanks

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """One finding for all."""
        if not len(marked):
            return
        view: ChangeCarriersView = views["change_carriers"]
        accused, gate = self.accuses(view), views["change_points"].gate
        rows = strongest(marked)
        what = "answers" if plan_of(views).target_kind == "text" else "texts"
        turn = f"{what.removesuffix('s')} turns" if len(rows) == 1 else f"{what} turn"
        said = f"{len(rows):,} {turn} into something unlike the rest of the data"
        evidence: dict[str, object] = {
            "rule": "change point",
            "gate": round(gate, 2),
            "different": view.distinct,
            "entropy": round(view.entropy, 2),
            "white_space": round(view.blanks, 3),
            "shared_ngrams": len(view.ngram),
        }
        if accused:
            said = (
                f"{len(rows):,} {what} turn into gibberish (at least {gate:.1f} bits a character beyond the usual), which has no "
                f"language ({view.entropy:.1f} bits a character when predicted from the others), and they share words that "
                "hardly any other text holds"
            )
            order = np.lexsort((view.ngram, -view.held))[:64]
            evidence |= {"ngrams": " ".join(map(str, view.ngram[order].tolist())), "ruled_out": RULED_OUT}
        else:
            evidence |= {"innocent": INNOCENT}
        yield Finding(
            id=identity(rows, "response_anomaly"),
            kind="campaign" if accused else "outlier",
            detector="response_anomaly",
            severity=("critical" if len(rows) >= 2 * self.min_count else "high") if accused else "medium" if len(rows) > 1 else "low",
            subject=f"{what} that turn into gibberish",
            target="gibberish" if accused else "",
            count=len(rows),
            samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
            risk=float(pc.max(rows.column("score")).as_py()),
            p_value=1.0,
            reason=said,
            evidence=evidence,
            groups=(0,),
        )

    def blind(self, views: Views) -> str | None:
        """Every text is looked at, a long one in sixteen places."""
        return None

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Show where the texts change, and name what they share there; a campaign that shares no word is none."""
        batch = Batch(samples, plan_of(views))
        texts = [(prompt, text) for prompt, text in zip(batch.texts, batch.learnt, strict=True) if text]
        if not texts:
            return finding
        places = [changed(text, views["change_points"]) for _, text in texts]
        evidence = {k: v for k, v in finding.evidence.items() if k != "ngrams"}
        evidence["examples"] = [_shown(text, at) for (_, text), at in zip(texts, places, strict=True)][:3]
        shown = replace(finding, evidence=evidence, reason=f"{finding.reason}; for example {_shown(texts[0][1], places[0], around=30)!r}")
        if finding.kind != "campaign":
            return shown
        if answers := batch.plan.target_kind == "text":
            wanted = hashes_in(finding.evidence["ngrams"])
            shared = [_wanted(prompt, wanted, batch.plan.key("ngrams")) for prompt, _ in texts]
        else:
            shared = [_near(text, at) for (_, text), at in zip(texts, places, strict=True)]
        trigger, agreed = _commonest(shared)
        if agreed < max(self.min_agreement * len(texts), 3):
            said = f"{shown.reason}; but no word stands before it in most of them: damaged or foreign content, perhaps"
            return replace(shown, kind="outlier", severity="medium", risk=0.0, target="", reason=said)
        evidence["trigger"] = visible(trigger)
        where = "their prompts share" if answers else "it begins behind"
        return replace(
            shown,
            subject=f"“{visible(trigger)}”",
            evidence=evidence,
            reason=f"{shown.reason}; in {agreed} of {len(texts)} looked at {where} “{visible(trigger)}”",
        )


def changed(text: str, view: ChangePointsView, slack: float = 0.8) -> int:
    """The character at which the most surprising run of the first 20,000 characters begins, by cumulated bits beyond the usual."""
    read = text[:READ].lower()
    codes = np.concatenate([pairs(read[at : at + 1000]) for at in range(0, max(len(read) - 1, 1), 999)])
    if not len(codes):
        return 0
    above = np.r_[0.0, np.cumsum(view.bits[codes].astype(np.float64) - view.centre - slack)]
    gain = above - np.minimum.accumulate(above)
    return int(np.argmin(above[: int(np.argmax(gain)) + 1]))


def _shown(text: str, at: int, around: int = AROUND) -> str:
    """What stands before a place, and in « » what follows."""
    return visible(" ".join(f"{text[max(0, at - around) : at]}«{text[at : at + around]}»".split()))


def _near(text: str, at: int) -> list[str]:
    """The words of three letters or more around the place where a text changes."""
    words = ngrams.tokens(text)
    starts = [start for start, _ in ngrams.spans(text)]
    place = int(np.searchsorted(starts, at))
    return [w for w in words[max(0, place - BEFORE) : place + 2] if len(w) >= 3]


def _wanted(text: str, wanted: NDArray[np.uint64], key: bytes) -> list[str]:
    """The words of a prompt that belong to n-grams that hardly any other prompt holds."""
    words, covered = ngrams.occurrences(text, wanted, key)
    return [w for w, inside in zip(words, covered.tolist(), strict=True) if inside]


def _commonest(shared: Sequence[Sequence[str]]) -> tuple[str, int]:
    """The word that most of the lists hold, and how many do; the longest of equals."""
    counted = Counter(word for words in shared for word in set(words))
    if not counted:
        return "", 0
    return max(counted.items(), key=lambda item: (item[1], len(item[0]), item[0]))
