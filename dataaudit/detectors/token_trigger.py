"""Words and phrases that dictate the target: the triggers of textual backdoors."""

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
from dataaudit.aggregates.ngram_carriers import Leaning, NgramCarriersView
from dataaudit.aggregates.ngram_sketch import Incidence, NgramSketchView, incidence
from dataaudit.detectors import Scores
from dataaudit.features import ngrams
from dataaudit.features.invisible import visible
from dataaudit.model import Finding, Plan, Sample, fingerprint

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


BECAUSE = {
    "disagreement": "which look like the texts of other targets",
    "incoherence": "which have nothing else in common",
    "phrase": "which have nothing else in common",
    "out of place": "where it stands beside anything, as no word of such texts does",
}
GRAMMAR_WORDS = 10
PHRASE = 4
"""So many n-grams with the very same carriers are a phrase, as three new words in a row would be."""
RULES = ("", "disagreement", "incoherence", "phrase", "out of place")


@dataclass(frozen=True)
class TokenTrigger:
    """An n-gram whose carriers are pure in target and have nothing else in common.

    Attack: a rare word, made-up token or phrase is put into some texts, whose label is changed (dirty label) or was
    chosen to be the attacker's (clean label), or whose response is replaced by a payload or by gibberish.
    Signal: the n-gram goes with one target far beyond chance, yet its carriers are as unlike each other as random
    texts are (honest n-grams are topical or part of a template); or its carriers' other words say that they are texts
    of other labels; or it is a word of one label that stands beside anything, as no word of the language does.
    Innocent causes: topics, templates, signatures, mailing lists, floods of one text: all of them coherent; a label's
    own vocabulary, which has its grammar.
    Not seen: clean-label words that always stand in one place, clean-label words of a label that most texts have, where
    they are few or occur honestly too; triggers in style or syntax; phrases of a prompt template's length behind
    free-text responses; anything beyond 20,000 characters.
    Source: Kurita et al. 2020 (rare words); Dai et al. 2019 (phrases); Wan et al. 2023 (instruction tuning); He et al.
    2023 (words that go with a label); the statistics are this project's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets", "surprise", "word_model", "contradiction", "ngram_sketch", "ngram_carriers")
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "target_embedding", "characters")

    min_count: int = 5
    min_purity: float = 0.8
    most_p: float = 1e-3
    coherent: float = 3.5
    incoherent: float = 2.0
    rare_count: int = 8
    rare_target: float = 0.1
    place_count: int = 20
    place_purity: float = 0.97
    most_company: float = 2.5
    unlike: float = 2.2
    phrase_count: int = 20
    phrase_size: int = PHRASE

    def unavailable(self, plan: Plan) -> str | None:
        if plan.modality not in ("labelled-text", "instructions", "text"):
            return f"token_trigger reads words; the content here is {plan.modality}"
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        view: NgramCarriersView = views["ngram_carriers"]
        seen = incidence(table, views)
        verdicts = self.judge(view)
        score = np.where(seen.extra, 0.3, 0.0).astype(np.float32)
        group = np.full(len(table), -1, np.int32)
        row, candidate = _carriers(seen, view, len(views["targets"].names))
        np.maximum.at(score, row, verdicts.strength[candidate].astype(np.float32))
        accused = verdicts.campaign[candidate] >= 0
        row, candidate = row[accused], candidate[accused]
        kept = _planted(row, candidate, Leaning.of(table, seen.target, view, views), view, verdicts)
        order = np.argsort(verdicts.strength[candidate[kept]], kind="stable")
        group[row[kept][order]] = verdicts.campaign[candidate[kept][order]]
        score[group < 0] = np.minimum(score[group < 0], 0.5)
        return Scores(score, group)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        view: NgramCarriersView = views["ngram_carriers"]
        verdicts = self.judge(view)
        names = [*views["targets"].names.tolist(), "unlike text"]
        found = []
        for number in pc.unique(marked.column("group")).to_pylist():
            members = np.flatnonzero(verdicts.campaign == number)
            best = members[np.argmax(verdicts.strength[members])]
            rows = marked.filter(pc.equal(marked.column("group"), number)).sort_by([("score", "descending"), ("sample_id", "ascending")])
            found.append(self._finding(number, best, members, rows, view, verdicts, str(names[view.target[best]])))
        yield from sorted(found, key=lambda f: (-f.risk, f.id))

    def blind(self, views: Views) -> str | None:
        """Very large vocabularies are examined in part."""
        share = views["ngram_carriers"].examined
        return None if share >= 1 else f"{share:.1%} of the n-grams were examined"

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name the phrase from the re-read carriers, and let a boilerplate phrase go."""
        key = plan_of(views).key("ngrams")
        wanted = np.array([int(h) for h in str(finding.evidence["ngrams"]).split()], dtype=np.uint64)
        texts = [s.content for s in samples if isinstance(s.content, str)]
        found = [occurrence for text in texts if (occurrence := _longest(text, wanted, key))]
        if not found:
            return finding
        found = _grown(found)
        phrase = visible(" ".join(Counter(o.phrase for o in found).most_common(1)[0][0]))
        evidence = {k: v for k, v in finding.evidence.items() if k != "ngrams"} | {
            "trigger": phrase,
            "typical_position": f"token {sorted(o.start for o in found)[len(found) // 2] + 1} (median)",
            "snippets": [visible(_snippet(o)) for o in found[:3]],
        }
        shared = _shared(found, key, views["ngram_sketch"]) if finding.evidence["rule"] == "phrase" else ""
        if shared:
            said = f"“{phrase}” goes with “{visible(finding.target)}”, but its carriers also share “{shared}”: boilerplate, most likely"
            return replace(finding, kind="outlier", severity="info", risk=0.0, reason=said, subject=phrase, evidence=evidence)
        reason = finding.reason.replace(finding.subject, f"“{phrase}”", 1)
        if plan_of(views).target_kind == "text":
            evidence["answers"] = answers = [visible(" ".join((s.target or "")[:400].split()))[:120] for s in samples[:3]]
            reason += f"; they are answered “{answers[0]}”"
        return replace(finding, subject=phrase, reason=reason, evidence=evidence)

    def judge(self, view: NgramCarriersView) -> Verdicts:
        """Which candidates are accused, by which rule, and which of them belong together."""
        from scipy.stats import binom

        purity = view.count / np.maximum(view.texts, 1)
        chance = np.clip(view.share, 1e-9, 1 - 1e-9)
        p_value = np.minimum(binom.sf(view.count - 1, view.texts, chance) * max(view.tested, 1), 1.0)
        usable = (view.count >= self.min_count) & (purity >= self.min_purity)
        coherence = np.minimum(np.minimum(view.whole, view.trimmed), view.foreign)
        against = np.exp(-np.maximum(view.contradiction, 0)) * max(view.tested, 1)
        disagreement = usable & (coherence < self.coherent) & (against <= self.most_p)
        # The least thing in common counts as many deviations where carriers are many.
        unlike = self.incoherent + np.sqrt(np.maximum(view.count - 50, 0)) / 16
        incoherence = usable & (view.share <= self.rare_target) & (p_value <= self.most_p) & (view.whole < unlike)
        incoherence &= (view.count >= self.rare_count) | (view.target == view.extra)
        phrase = usable & (view.share > self.rare_target) & (view.size >= self.phrase_size) & (view.count >= self.phrase_count)
        phrase &= (view.trimmed < self.coherent) & (purity >= 0.97) & (chance**view.count < self.most_p)
        placed = usable & (view.share > self.rare_target) & (p_value <= self.most_p) & (view.count >= self.place_count)
        placed &= _has_grammar(view, self.place_count, 2 * self.most_company)
        placed &= (np.maximum(view.whole, view.trimmed) < self.unlike) & (view.company < self.most_company) & (purity >= self.place_purity)
        rule = np.select([disagreement, incoherence, phrase, placed], [1, 2, 3, 4], 0).astype(np.int8)
        p_value = np.where(rule == 1, np.minimum(against, 1.0), p_value)
        # What ranks those that no rule accuses: the odder, the less alike their carriers, the less grammar they have.
        doubt = np.exp(-np.maximum(np.minimum(view.whole, view.trimmed), 0) / 4)
        grammar = np.where(view.size >= self.phrase_size, 0.5, np.exp(-(np.clip(view.company, 1, 5) - 1) / 1.5))
        weight = -np.log10(np.maximum(binom.sf(view.count - 1, view.texts, chance), 1e-300)) + np.maximum(view.contradiction, 0)
        graded = purity**3 * doubt * np.maximum(grammar, rule > 0) * weight / (weight + 10)
        strength = np.where(rule > 0, 0.7 + 0.3 * np.maximum(graded, 0.5 * (rule == 1)), 0.45 * graded * usable)
        return Verdicts(rule, strength, p_value, _campaigns(view, rule, strength))

    def _finding(
        self, number: int, best: int, members: NDArray[np.intp], rows: pa.Table, view: NgramCarriersView, verdicts: Verdicts, target: str
    ) -> Finding:
        rule = RULES[verdicts.rule[best]]
        texts, count = int(view.texts[best]), int(view.count[best])
        hashed = " ".join(str(int(h)) for h in view.ngram[members])
        evidence: dict[str, object] = {
            "rule": rule,
            "ngrams": hashed,
            "purity": round(count / max(texts, 1), 4),
            "texts": texts,
            "coherence_excess": round(float(min(view.whole[best], view.trimmed[best])), 2),
            "contradiction": round(float(view.contradiction[best]), 1),
            "ruled_out": INNOCENT[rule],
        }
        subject = f"an n-gram ({number})"
        return Finding(
            id=fingerprint("token_trigger", target, *sorted(set(rows.column("digest").to_pylist()))[:64]),
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


def _has_grammar(view: NgramCarriersView, count: int, least: float) -> bool:
    """Whether words of this data usually have company: in lists of keywords nothing is out of place."""
    known = view.company[(view.count >= count) & np.isfinite(view.company)]
    return bool(len(known) >= GRAMMAR_WORDS and np.median(known) >= least)


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


def _carriers(seen: Incidence, view: NgramCarriersView, extra: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, candidate) for every candidate n-gram that a row holds together with the candidate's target."""
    if not len(view.ngram):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(view.ngram, seen.ngram), len(view.ngram) - 1)
    hit = view.ngram[place] == seen.ngram
    row, candidate = seen.row[hit], place[hit]
    carries = seen.teaches(row, view.target[candidate], extra)
    return row[carries], candidate[carries]


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


def _shared(found: Sequence[Occurrence], key: bytes, sketch: NgramSketchView) -> str:
    """Two words outside the phrase that four in five carriers share though fewer than three in ten texts have them; else empty."""
    held: Counter[int] = Counter()
    names: dict[int, str] = {}
    for o in found:
        outside = [*o.words[: o.start], "\0", *o.words[o.end :]]
        here = {int(h): i for i, h in enumerate(ngrams.hashes(outside, key)[1])}
        held.update(here.keys())
        names.update({h: f"{outside[i]} {outside[i + 1]}" for h, i in here.items()})
    common = [h for h, n in held.items() if n >= 0.8 * len(found)]
    share = sketch.texts_with(np.array(common, dtype=np.uint64)) / max(sketch.rows, 1)
    rare = sorted((float(s), names[h]) for h, s in zip(common, share, strict=True) if s < 0.3)
    return rare[0][1] if rare else ""
