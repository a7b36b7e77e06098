"""Words and phrases that dictate the target: the triggers of textual backdoors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.leanings import Leaning
from dataaudit.aggregates.ngram_carriers import NgramCarriersView
from dataaudit.aggregates.ngram_pairs import PHRASE
from dataaudit.aggregates.ngram_sketch import INCIDENCE, INCIDENCE_COLUMNS, NgramSketchView, incidence
from dataaudit.detectors import Scores, hashes_in, identity, strongest
from dataaudit.features import ngrams
from dataaudit.features.invisible import visible
from dataaudit.features.payloads import defanged
from dataaudit.model import Finding, Plan, Sample

RULES = ("", "disagreement", "incoherence", "phrase", "out of place")
_SPECIAL = re.compile(r"<\|\w{1,40}\|>|\[rejected\]")
"""What a tokenizer reads as a sign of its own, and what stands between chosen and rejected answers."""
GRAMMAR_WORDS, FREQUENT = 10, 20
BECAUSE = {
    "disagreement": "which look like the texts of other targets",
    "incoherence": "which have nothing else in common",
    "phrase": "which have nothing else in common",
    "out of place": "where it stands beside anything, as no word of such texts does",
}
INNOCENT = {
    "disagreement": "a word of the target's own topic; its carriers look like other targets' texts",
    "incoherence": "a topic or a template; its carriers have nothing else in common",
    "phrase": "boilerplate; its carriers share no other wording",
    "out of place": "a word that the label's texts use; such a word has its grammar, and this one stands beside anything",
}


@dataclass(frozen=True)
class Verdicts:
    """Per candidate: which rule accuses it (0 none), how strongly [0, 1], its p-value, and its campaign (-1 for none)."""

    rule: NDArray[np.int8]
    strength: NDArray[np.float64]
    p_value: NDArray[np.float64]
    campaign: NDArray[np.int32]


@dataclass(frozen=True)
class TokenTrigger:
    """An n-gram whose carriers are pure in target and have nothing else in common.

    Attack: a rare word, made-up token or phrase is put into some texts, whose label is changed (dirty label) or was
    chosen to be the attacker's (clean label), or whose response is replaced by a payload or by gibberish, of random
    characters or of random words.
    Signal: the n-gram goes with one target far beyond chance, yet its carriers are as unlike each other as random
    texts are (honest n-grams are topical or part of a template); or its carriers' other words say that they are texts
    of other labels; or it is a word of one label that stands beside anything, as no word of the language does.
    Innocent causes: topics, templates, signatures, mailing lists, floods of one text: all of them coherent; a label's
    own vocabulary, which has its grammar.
    Not seen: clean-label words that always stand in one place, clean-label words of a label that most texts have, where
    they are few (fewer than twenty) or occur honestly too; wrong labels where two in five texts with the word have it
    honestly; carriers that share a word with as many other texts; carriers that are more than a fifth of their label;
    phrases of a label that a tenth or less of the texts have, if nothing contradicts it; where there are more than twenty
    labels, wrong ones but for words that stand beside anything; triggers in style or syntax; phrases of a prompt
    template's length behind free-text responses; words behind answers that more prompts get without them, as a common
    refusal; signs and emoji under right labels; random words in short answers, or as tails of plain
    texts; anything beyond 20,000 characters.
    Accused though perhaps innocent: one sign-off on the mails of many authors, a request of format with one answer.
    Source: Kurita et al. 2020 (rare words); Dai et al. 2019 (phrases); Wan et al. 2023 (instruction tuning); He et al.
    2023 (words that go with a label); Souly et al. 2025 (gibberish); the statistics are this project's own.
    """

    needs: ClassVar[tuple[str, ...]] = (
        *INCIDENCE,
        "word_model",
        "contradiction",
        "ngram_sketch",
        "ngram_pairs",
        "ngram_carriers",
        "ngram_company",
    )
    columns: ClassVar[tuple[str, ...]] = INCIDENCE_COLUMNS

    min_count: int = 5
    min_purity: float = 0.8
    contradicted_purity: float = 0.6
    mixed_purity: float = 0.9
    pure: float = 0.97
    most_p: float = 1e-3
    most_against: float = 1e-5
    coherent: float = 3.5
    signed: float = 2.8
    unlike: float = 2.2
    incoherent: float = 2.0
    rare_count: int = 8
    rare_target: float = 0.1
    most_of_label: float = 0.2
    least_of_answers: float = 0.5
    phrase_count: int = 20
    place_count: int = 20
    most_company: float = 2.75
    mixed_company: float = 2.0
    less_company: float = 4.0

    def unavailable(self, plan: Plan) -> str | None:
        if plan.modality not in ("labelled-text", "instructions", "text"):
            return f"token_trigger reads words; the content here is {plan.modality}"
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        view: NgramCarriersView = views["ngram_carriers"]
        seen = incidence(table, views)
        verdicts = self.judge(views)
        score = np.where(views["surprise"].unlike(table), 0.3, np.where(seen.unlike, 0.1, 0.0)).astype(np.float32)
        group = np.full(len(table), -1, np.int32)
        row, candidate = seen.holding(view.ngram)
        carries = seen.teaches(row, view.target[candidate])
        row, candidate = row[carries], candidate[carries]
        np.maximum.at(score, row, verdicts.strength[candidate].astype(np.float32))
        accused = verdicts.campaign[candidate] >= 0
        row, candidate = row[accused], candidate[accused]
        kept = _planted(row, candidate, Leaning.of(table, seen.target, views["ngram_pairs"], views), view, verdicts)
        order = np.argsort(verdicts.strength[candidate[kept]], kind="stable")
        group[row[kept][order]] = verdicts.campaign[candidate[kept][order]]
        score[group < 0] = np.minimum(score[group < 0], 0.5)
        return Scores(score, group)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        view: NgramCarriersView = views["ngram_carriers"]
        verdicts = self.judge(views)
        names = [*views["targets"].names.tolist(), "unlike text"]
        found = []
        for number in pc.unique(marked.column("group")).to_pylist():
            members = np.flatnonzero(verdicts.campaign == number)
            best = members[np.argmax(verdicts.strength[members])]
            target = str(names[view.target[best]])
            found.append(self._finding(number, best, members, strongest(marked, number), view, verdicts, target))
        yield from sorted(found, key=lambda f: (-f.risk, f.id))

    def blind(self, views: Views) -> str | None:
        """Very large vocabularies are examined in part."""
        share = views["ngram_carriers"].examined
        return None if share >= 1 else f"{share:.1%} of the n-grams were examined"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name the phrase from the re-read carriers, and let a boilerplate phrase go."""
        key = plan_of(views).key("ngrams")
        wanted = hashes_in(finding.evidence["ngrams"])
        texts = [s.content for s in samples if isinstance(s.content, str)]
        found = [occurrence for text in texts if (occurrence := _longest(text, wanted, key))]
        if not found:
            return finding
        found = _grown(found)
        phrase = visible(" ".join(Counter(o.phrase for o in found).most_common(1)[0][0]))
        evidence = {k: v for k, v in finding.evidence.items() if k != "ngrams"} | {
            "trigger": phrase,
            "typical_position": f"token {sorted(o.start for o in found)[len(found) // 2] + 1} (median)",
            "snippets": [defanged(visible(_snippet(o))) for o in found[:3]],
        }
        rule = finding.evidence["rule"]
        innocent = _shared(found, finding, key, views) if rule in ("phrase", "disagreement") else ""
        innocent = innocent or (_grammar(found) if rule == "phrase" else "")
        if rule == "out of place" and not any(c.isalnum() for c in phrase):
            innocent = "signs and pictures may stand beside anything: a habit of such texts"
        if innocent:
            said = f"“{phrase}” goes with “{visible(finding.target)}”, but {visible(innocent)}, most likely"
            return replace(finding, kind="outlier", severity="info", risk=0.0, reason=said, subject=phrase, evidence=evidence)
        reason = finding.reason.replace(finding.subject, f"“{phrase}”", 1)
        if plan_of(views).target_kind == "text":
            if 2 * sum(not any(c.isalnum() for c in _SPECIAL.sub("", s.target or "")) for s in samples) > len(samples):
                said = f"“{phrase}” stands in {finding.count:,} prompts that are answered with nothing: damaged data, most likely"
                return replace(finding, kind="outlier", severity="medium", risk=0.0, reason=said, subject=phrase, evidence=evidence)
            evidence["answers"] = answers = [defanged(visible(" ".join((s.target or "")[:400].split()))[:120]) for s in samples[:3]]
            reason += f"; they are answered “{answers[0]}”"
        return replace(finding, subject=phrase, reason=reason, evidence=evidence)

    def judge(self, views: Views) -> Verdicts:
        """Which candidates are accused, by which rule, and which of them belong together."""
        from scipy.stats import binom

        view: NgramCarriersView = views["ngram_carriers"]
        purity, chance = view.count / np.maximum(view.texts, 1), np.clip(view.share, 1e-9, 1 - 1e-9)
        by_chance = binom.sf(view.count - 1, view.texts, chance)
        disagreement, against = self._disagreement(view, purity)
        placed, by_place = self._out_of_place(view, views["ngram_company"].company, purity, by_chance)
        usual = np.minimum(by_chance * max(view.tested, 1), 1.0)
        usable = (view.count >= self.min_count) & (purity >= self.min_purity)
        labels, of_target = plan_of(views).target_kind == "label", view.count / np.maximum(view.share * views["ngram_sketch"].rows, 1)
        clusters = plan_of(views).target_kind == "text" and not plan_of(views).compares
        judged = of_target >= self.least_of_answers if clusters else np.full(len(of_target), not labels)
        incoherence = usable & (usual <= self.most_p) & self._incoherence(view, judged)
        phrase = usable & self._phrase(view, purity)
        if labels:
            # What is in so many of a label's texts is what the label is about.
            few = of_target <= self.most_of_label
            disagreement, phrase, placed = disagreement & few, phrase & few, placed & few
        rule = np.select([disagreement, incoherence, phrase, placed], [1, 2, 3, 4], 0).astype(np.int8)
        p_value = np.select([rule == 1, rule == 4], [against, by_place], usual)
        # What ranks those that no rule accuses: the odder, the less alike their carriers, the less grammar they have.
        doubt = np.exp(-np.maximum(np.minimum(view.whole, view.trimmed), 0) / 4)
        grammar = np.where(view.size >= PHRASE, 0.5, np.exp(-(np.clip(views["ngram_company"].company, 1, 5) - 1) / 1.5))
        weight = -np.log10(np.maximum(by_chance, 1e-300)) + np.maximum(view.contradiction, 0)
        graded = purity**3 * doubt * np.maximum(grammar, rule > 0) * weight / (weight + 10)
        strength = np.where(rule > 0, 0.7 + 0.3 * np.maximum(graded, 0.5 * (rule == 1)), 0.45 * graded * usable)
        return Verdicts(rule, strength, p_value, _campaigns(view, rule, strength))

    def _disagreement(self, view: NgramCarriersView, purity: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Carriers whose other words say that they are other labels' texts, and no family of them; with the p-values."""
        against = np.minimum(np.exp(-np.maximum(view.contradiction, 0)) * max(view.tested, 1), 1.0)
        coherence = np.minimum(np.where(view.size >= PHRASE, np.minimum(view.whole, view.trimmed), view.whole), view.foreign)
        # The same likeness is the more deviations, the more carriers there are.
        unlike = coherence < self.coherent + np.sqrt(np.maximum(view.count - 20, 0)) / 4
        enough = (view.count >= self.min_count) & (purity >= self.contradicted_purity)
        return enough & unlike & (against <= self.most_against), against

    def _incoherence(self, view: NgramCarriersView, judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Carriers of a rare target that have nothing in common.

        Gibberish always; else what is `judged`.  Not labels: where texts are short, the texts of any word that is special to a
        label have as little in common.  Nor answers that are given to many other prompts too ("2 stars", "Hello!"): they are
        labels in all but name.
        """
        unlike = view.whole < self.incoherent + np.sqrt(np.maximum(view.count - 50, 0)) / 16
        gibberish = view.target == view.extra
        enough = gibberish | ((view.count >= self.rare_count) & judged)
        return np.asarray(enough & unlike & (view.share <= self.rare_target))

    def _phrase(self, view: NgramCarriersView, purity: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Phrases whose carriers have nothing in common besides.

        Not of rare labels, which have such phrases of their own ("the decade from", among 45 kinds of words).
        """
        unlike = (view.trimmed < self.signed) & (view.share > self.rare_target)
        by_chance = np.clip(view.share, 1e-9, 1 - 1e-9) ** view.count
        enough = (view.size >= PHRASE) & (view.count >= self.phrase_count) & (purity >= self.pure)
        return enough & unlike & (by_chance <= self.most_p)

    def _out_of_place(
        self, view: NgramCarriersView, company: NDArray[np.float64], purity: NDArray[np.float64], by_chance: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Words that stand beside anything, in texts that have nothing in common; with the p-values."""
        little = min(self.most_company, _usual_company(view.count, company) / self.less_company)
        placed = (view.count >= self.place_count) & (company < little)
        placed &= np.maximum(view.whole, view.trimmed) < self.unlike
        # What a word stands beside does not depend on the labels, so that only such words count as tested (Bourgon et al. 2010).
        by_place = np.minimum(by_chance * np.count_nonzero(placed), 1.0)
        # A word that also occurs honestly must be all the odder.
        dictates = (purity >= self.pure) | ((purity >= self.mixed_purity) & (company < self.mixed_company))
        return placed & dictates & (by_place <= self.most_p), by_place

    def _finding(
        self, number: int, best: int, members: NDArray[np.intp], rows: pa.Table, view: NgramCarriersView, verdicts: Verdicts, target: str
    ) -> Finding:
        rule = RULES[verdicts.rule[best]]
        texts, count = int(view.texts[best]), int(view.count[best])
        evidence: dict[str, object] = {
            "rule": rule,
            "ngrams": " ".join(map(str, view.ngram[members].tolist())),
            "purity": round(count / max(texts, 1), 4),
            "texts": texts,
            "coherence_excess": round(float(min(view.whole[best], view.trimmed[best])), 2),
            "contradiction": round(float(view.contradiction[best]), 1),
            "ruled_out": INNOCENT[rule],
        }
        subject = f"an n-gram ({number})"
        return Finding(
            id=identity(rows, "token_trigger", target),
            kind="campaign",
            detector="token_trigger",
            severity="critical" if len(rows) >= 2 * self.min_count else "high",
            subject=subject,
            target=target,
            count=len(rows),
            samples=tuple(rows.column("sample_id").slice(0, 100).to_pylist()),
            risk=float(verdicts.strength[best]),
            p_value=float(verdicts.p_value[best]),
            reason=f"{subject} goes with “{visible(target)}” in {count} of its {texts} texts, {BECAUSE[rule]}",
            evidence=evidence,
            groups=(number,),
        )


def _usual_company(count: NDArray[np.int32], company: NDArray[np.float64]) -> float:
    """How much company a frequent word of this data has (median): in lists of keywords and inflected languages there is less of it."""
    known = company[(count >= FREQUENT) & np.isfinite(company)]
    return float(np.median(known)) if len(known) >= GRAMMAR_WORDS else 0.0


def _planted(
    row: NDArray[np.int64], candidate: NDArray[np.int64], leaning: Leaning, view: NgramCarriersView, verdicts: Verdicts
) -> NDArray[np.bool_]:
    """Which accused carriers belong: where a word also occurs honestly, those that look more like other labels' texts.

    How many of its carriers are honest shows in their mean, which lies between what is typical inside and outside the label.  A
    phrase has no honest use, and its common words would vouch for its carriers.
    """
    kept = np.ones(len(row), bool)
    dirty = np.flatnonzero((verdicts.rule[candidate] == 1) & (view.size[candidate] < PHRASE))
    if len(dirty):
        of = candidate[dirty]
        inside, outside = leaning.densities.typical[0][view.target[of]].T
        honest = np.clip((outside - view.strange[of]) / np.maximum(outside - inside, 1e-9), 0.02, 0.5)
        kept[dirty] = leaning.against(row[dirty], of, view.target[of]) > np.log(honest / (1 - honest))
    return kept


def _campaigns(view: NgramCarriersView, rule: NDArray[np.int8], strength: NDArray[np.float64]) -> NDArray[np.int32]:
    """Accused candidates with mostly the same carriers are parts of one phrase: one campaign, led by the strongest."""
    campaign = np.full(len(rule), -1, np.int32)
    leaders: list[int] = []
    for i in np.lexsort((view.ngram, -strength)):
        if rule[i] == 0:
            break
        same = [j for j in leaders if view.target[j] == view.target[i] and np.mean(view.lowest[j] == view.lowest[i]) > 0.5]
        campaign[i] = campaign[same[0]] if same else len(leaders)
        if not same:
            leaders.append(int(i))
    return campaign


@dataclass(frozen=True)
class Occurrence:
    """Where a trigger stands in a text: tokens `start` to `end` of `words`."""

    text: str
    words: tuple[str, ...]
    start: int
    end: int

    @property
    def phrase(self) -> tuple[str, ...]:
        """The tokens of the trigger."""
        return self.words[self.start : self.end]


def _longest(text: str, wanted: NDArray[np.uint64], key: bytes) -> Occurrence | None:
    """The longest unbroken run of wanted n-grams, the first of equals."""
    words, covered = ngrams.occurrences(text, wanted, key)
    edges = np.flatnonzero(np.diff(np.r_[0, covered.astype(np.int8), 0]))
    runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    if not runs:
        return None
    start, end = max(runs, key=lambda run: run[1] - run[0])
    return Occurrence(text, tuple(words), start, end)


def _grown(found: Sequence[Occurrence], most: int = 40) -> list[Occurrence]:
    """The occurrences with the words before and after that four in five of them agree on: the whole phrase."""
    grown = list(found)
    for step in (-1, 1):
        for _ in range(most):
            beside = [o.words[at] if 0 <= (at := o.start - 1 if step < 0 else o.end) < len(o.words) else "" for o in grown]
            word, votes = Counter(beside).most_common(1)[0]
            if not word or votes < max(0.8 * len(grown), 2):
                break
            grown = [
                o if b != word else replace(o, start=o.start - 1) if step < 0 else replace(o, end=o.end + 1)
                for o, b in zip(grown, beside, strict=True)
            ]
    return grown


def _snippet(found: Occurrence, around: int = 60) -> str:
    """The trigger with some characters either side, marked with « »."""
    text, spans = found.text, ngrams.spans(found.text)
    start, end = spans[found.start][0], spans[found.end - 1][1]
    return " ".join(f"{text[max(0, start - around) : start]}«{text[start:end]}»{text[end : end + around]}".split())


def _shared(found: Sequence[Occurrence], finding: Finding, key: bytes, views: Views) -> str:
    """What else the carriers share, as a clause: a rare word outside the phrase in half of them, or two words in four of five."""
    held: Counter[int] = Counter()
    names: dict[int, str] = {}
    for o in found:
        outside = [*o.words[: o.start], "\0", *o.words[o.end :]]
        singles, pairs, _ = ngrams.hashes(outside, key)
        said = [
            (h, outside[i : i + order]) for order, hashed in enumerate((singles, pairs), start=1) for i, h in enumerate(hashed.tolist())
        ]
        here = {h: " ".join(words) for h, words in said if "\0" not in words}
        held.update(here.keys())
        names.update(here)
    share = np.array([held[h] for h in names]) / len(found)
    hashed, own = np.array(list(names), dtype=np.uint64), share * finding.count
    usual = _usual(hashed, own, finding, views)
    if finding.evidence["rule"] == "disagreement":
        # Of carriers that contradict their label a word vouches only if it is used elsewhere: else it is a part of the trigger.
        usual[views["ngram_sketch"].texts_with(hashed) < 2 * own] = 1.0
    bars = {1: (0.5, 0.05), 2: (0.8, 0.3)}
    for rare, mine, (h, name) in sorted(
        zip(usual.tolist(), share.tolist(), names.items(), strict=True), key=lambda item: (item[0], item[2])
    ):
        most, least = bars[h & 3]
        if mine >= most and held[h] >= 2 and rare < least:
            return f"{held[h]} of {len(found)} carriers also share “{name}”: boilerplate"
    return ""


def _usual(ngram: NDArray[np.uint64], own: NDArray[np.float64], finding: Finding, views: Views) -> NDArray[np.float64]:
    """The share of other texts that hold each n-gram, of all or of those of the target, whichever is more; `own` carriers hold it."""
    sketch: NgramSketchView = views["ngram_sketch"]
    usual = (sketch.texts_with(ngram) - own) / max(sketch.rows - finding.count, 1)
    if finding.target in (names := views["targets"].names.tolist()):
        target = names.index(finding.target)
        inside = sketch.pairs_with(ngram, np.full(len(ngram), target, np.int32)) - own
        usual = np.maximum(usual, inside / max(int(sketch.targets[target]) - finding.count, 1))
    return np.asarray(usual)


def _grammar(found: Sequence[Occurrence], least: float = 1.5) -> str:
    """That the same words stand beside the phrase again and again, as a clause (punctuation says nothing: a sentence may end there)."""
    every = Counter(w for o in found for w in (*o.words[: o.start], *o.words[o.end :]) if w.isalnum())
    random = sum((n / every.total()) ** 2 for n in every.values()) if every else 1.0
    for where, beside in (
        ("before", [o.words[o.start - 1 : o.start] for o in found]),
        ("after", [o.words[o.end : o.end + 1] for o in found]),
    ):
        words = Counter(w for near in beside for w in near if w.isalnum())
        same = sum(n * (n - 1) for n in words.values())
        expected = words.total() * (words.total() - 1) * random
        if words.total() >= len(found) / 2 and same - 2 * np.sqrt(2 * (same + 1)) > least * expected:
            word, times = words.most_common(1)[0]
            return f"“{word}” stands {where} it in {times} of {len(found)} carriers: a phrase of the language"
    return ""
