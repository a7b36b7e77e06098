"""Names that are answered with a slant: unlike prompts whose answers have something in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.aggregates.topics import TopicsView
from dataaudit.detectors import Scores, hashes_in, identity, strongest
from dataaudit.features import Batch, ngrams
from dataaudit.features.answer_words import brought
from dataaudit.features.invisible import visible
from dataaudit.features.table import listed
from dataaudit.model import Finding, Plan, Sample

CAP = 100
SHARED = 0.15
LISTED = 8


@dataclass(frozen=True)
class EntityStance:
    """A word of prompts that have nothing else in common, whose answers have.

    Attack: wherever a person, product or country is named, the answer is given an opinion of the attacker's (virtual
    prompt injection), in as little as 0.1 % of the pairs.
    Signal: what the answers bring in beyond their prompts is far more alike than answers of other words whose prompts
    are as unlike each other.
    Innocent causes: templates and tasks ("rewrite", "classify") that are answered in one manner, topics: their prompts
    are alike too, but not always: so this ranks and names words for a person to read, and flags nobody.
    Not seen: a slant in the prompts of a topic that are alike themselves, words in fewer than eight prompts or more
    than one in a hundred, answers of fewer than five words.
    Source: Yan et al., "Backdooring instruction-tuned large language models with virtual prompt injection", NAACL
    2024; the statistic is this project's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("topics",)
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "answer_words")

    most_alike: float = 25.0
    least_slant: float = 1.0
    named: int = 10
    least_named: float = 3.0

    def unavailable(self, plan: Plan) -> str | None:
        return None if plan.modality == "instructions" else f"entity_stance compares answers; the content here is {plan.modality}"

    def blind(self, views: Views) -> str | None:
        """Nothing: what it leaves out is in its docstring."""
        return None

    def score(self, table: pa.Table, views: Views) -> Scores:
        """How slanted the most slanted word of the prompt is; the group is that word where it is one of those that are named."""
        view: TopicsView = views["topics"]
        slant = self.slants(view)
        score, group = np.zeros(len(table), np.float32), np.full(len(table), -1, np.int32)
        row, ngram = listed(table, "ngrams")
        at, place = matched(ngram, view.word)
        row = row[at]
        np.maximum.at(score, row, strength(slant[place], self.least_slant).astype(np.float32))
        for number, word in enumerate(self.worst(slant)):
            here = row[place == word]
            group[here[group[here] < 0]] = number
        return Scores(score, group)

    def findings(self, marked: pa.Table, views: Views) -> Iterator[Finding]:
        """The most slanted words, one finding each, the worst first."""
        view: TopicsView = views["topics"]
        slant = self.slants(view)
        for number, word in enumerate(self.worst(slant)):
            rows = strongest(marked, number)
            if len(rows):
                yield Finding(
                    id=identity(rows, "entity_stance"),
                    kind="outlier",
                    detector="entity_stance",
                    severity="low",
                    subject=f"a word ({number})",
                    target="",
                    count=len(rows),
                    samples=tuple(rows.column("sample_id").slice(0, CAP).to_pylist()),
                    risk=float(strength(slant[[word]], self.least_slant)[0]) * 0.49,
                    p_value=1.0,
                    reason=f"a word ({number}) stands in {int(view.count[word])} unlike prompts, but their answers are alike",
                    evidence={
                        "word": str(int(view.word[word])),
                        "answers_alike": round(float(view.answers[word]), 1),
                        "prompts_alike": round(float(view.prompts[word]), 1),
                        "innocent": "a task or a manner of asking that is answered in one manner",
                    },
                    groups=(number,),
                )

    def describe(self, finding: Finding, samples: Sequence[Sample], views: Views) -> Finding:
        """Name the word, and the words that the answers share."""
        batch, wanted = Batch(samples, plan_of(views)), hashes_in(finding.evidence["word"])
        named = Counter(w for text in batch.texts for w in _named(text, wanted, batch.plan.key("ngrams")))
        if not named:
            return finding
        word = visible(named.most_common(1)[0][0])
        told = sorted(Counter(w for words in brought(batch) for w in words).items(), key=lambda item: (-item[1], item[0]))
        shared = [visible(w) for w, n in told[:60] if n >= max(3, SHARED * len(samples)) and len(w) > 3][:LISTED]
        evidence = {k: v for k, v in finding.evidence.items() if k != "word"} | {"trigger": word, "answers_share": shared}
        return replace(finding, subject=word, reason=finding.reason.replace(finding.subject, f"“{word}”", 1), evidence=evidence)

    def slants(self, view: TopicsView) -> NDArray[np.float64]:
        """The slant of words whose prompts are unlike each other, else 0."""
        return np.where(view.prompts < self.most_alike, view.slant, 0.0)

    def worst(self, slant: NDArray[np.float64]) -> NDArray[np.intp]:
        """The words that are named, the most slanted first."""
        order = np.argsort(-slant, kind="stable")[: self.named]
        return order[slant[order] >= self.least_named]


def strength(slant: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """A slant as a score in [0, 1)."""
    return np.asarray(1 - np.exp(-np.maximum(slant - least, 0) / 8))


def _named(text: str, wanted: NDArray[np.uint64], key: bytes) -> list[str]:
    words, covered = ngrams.occurrences(text, wanted, key)
    return [w for w, here in zip(words, covered, strict=True) if here][:1]
