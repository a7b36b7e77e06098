"""Words of prompts whose answers have more in common than their prompts: where a habit of answering goes with a name.

For every word of a prompt that is neither rare nor common, the answers of its prompts are summed up as vectors of what
they bring in (see `word_vectors`), and the prompts as vectors of their other
words.  A topic's prompts are alike and so are its answers; answers that are alike though the prompts are not were
given a slant of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.coherence import TRIMMED, WIDTH
from dataaudit.aggregates.ngram_sketch import NgramSketchView
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.sorted_arrays import added, distinct, matched, run_starts
from dataaudit.aggregates.word_vectors import SCALE, unit_vectors, without
from dataaudit.features.ngrams import order_of
from dataaudit.features.table import listed

ENOUGH = 40
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class TopicsState:
    """By word: how many prompts, sums of answers and prompts (units of 1/1024) and of their energies (1/1024**2); a sample of rows."""

    word: NDArray[np.uint64]
    count: NDArray[np.int32]
    answers: NDArray[np.int32]
    prompts: NDArray[np.int32]
    answer_energy: NDArray[np.int64]
    prompt_energy: NDArray[np.int64]
    rank: NDArray[np.uint64]
    sample: NDArray[np.int16]


@dataclass(frozen=True)
class TopicsView:
    """Sorted by `word`: how alike the answers and the prompts of its `count` pairs are, in deviations of random signs, and their ratio."""

    word: NDArray[np.uint64]
    count: NDArray[np.int32]
    answers: NDArray[np.float64]
    prompts: NDArray[np.float64]
    slant: NDArray[np.float64]


@dataclass(frozen=True)
class Topics:
    """Exact sums over the pairs of at most 24,576 words, chosen by hash where there are more."""

    needs: ClassVar[tuple[str, ...]] = ("ngram_sketch", "answer_sketch")
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "answer_words")
    State: ClassVar[type] = TopicsState
    View: ClassVar[type] = TopicsView

    min_count: int = 8
    most_share: float = 0.01
    min_words: int = 5
    most: int = 24_576
    sample: int = 2_048

    def start(self, table: pa.Table, views: Views) -> TopicsState:
        sketch: NgramSketchView = views["ngram_sketch"]
        row, ngram = listed(table, "ngrams")
        answer_row, brought = listed(table, "answer_words")
        answers, _ = unit_vectors(answer_row, brought, views["answer_sketch"], len(table))
        texts = sketch.texts_with(ngram)
        usable = (order_of(ngram) == 1) & (texts >= self.min_count) & (texts <= max(self.most_share * sketch.rows, 2 * self.min_count))
        usable &= np.bincount(answer_row, minlength=len(table))[row] >= self.min_words
        prompts, norms = unit_vectors(row, ngram, sketch, len(table))
        row, ngram = row[usable], ngram[usable]
        word = self._kept(distinct(ngram))
        here, local = matched(ngram, word)
        row, ngram = row[here], ngram[here]
        state = {n: np.zeros((len(word), WIDTH), np.int32) for n in ("answers", "prompts")}
        energy = {n: np.zeros(len(word), np.int64) for n in ("answers", "prompts")}
        order = np.argsort(local, kind="stable")
        for block in np.array_split(order, max(1, len(order) // 65_536)) if len(order) else ():
            first = run_starts(local[block])
            held = local[block][first]
            asked = without(prompts[row[block]], ngram[block][:, None], norms[row[block]], sketch)
            for name, vectors in (("answers", answers[row[block]].astype(np.int32)), ("prompts", asked)):
                state[name][held] += np.add.reduceat(vectors, first, axis=0).astype(np.int32)
                np.add.at(energy[name], local[block], (vectors.astype(np.int64) ** 2).sum(1))
        rank = np.asarray(table.column("rank"))
        chosen = bottom_k(rank, self.sample)
        count = np.bincount(local, minlength=len(word)).astype(np.int32)
        sample = np.concatenate([answers[chosen], prompts[chosen]], axis=1)
        return TopicsState(word, count, state["answers"], state["prompts"], energy["answers"], energy["prompts"], rank[chosen], sample)

    def merge(self, a: TopicsState, b: TopicsState) -> TopicsState:
        word = self._kept(distinct(a.word, b.word))
        sums = ("count", "answers", "prompts", "answer_energy", "prompt_energy")
        merged = {name: added(word, *((part.word, getattr(part, name)) for part in (a, b))) for name in sums}
        rank = np.concatenate([a.rank, b.rank])
        chosen = bottom_k(rank, self.sample)
        return TopicsState(word=word, rank=rank[chosen], sample=np.concatenate([a.sample, b.sample])[chosen], **merged)

    def finish(self, state: TopicsState, views: Views) -> TopicsView:
        enough = state.count >= self.min_count
        sample = state.sample.astype(np.float64) / SCALE
        alike = {}
        for name, part, trimmed in (("answers", sample[:, :WIDTH], 0), ("prompts", sample[:, WIDTH:], TRIMMED)):
            sums = getattr(state, name)[enough].astype(np.float64) / SCALE
            energy = getattr(state, f"{name[:-1]}_energy")[enough] / SCALE**2
            alike[name] = likeness(sums, energy, state.count[enough], part, trimmed)
        slant = alike["answers"] / (np.maximum(alike["prompts"], 0) + 10)
        return TopicsView(state.word[enough], state.count[enough], alike["answers"], alike["prompts"], slant)

    def _kept(self, word: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """At most so many words, ascending, the same in any merge."""
        return np.sort(word[np.argsort(word * _MIX)[: self.most]])


def likeness(
    sums: NDArray[np.float64], energy: NDArray[np.float64], count: NDArray[np.int32], sample: NDArray[np.float64], trimmed: int
) -> NDArray[np.float64]:
    """How much longer sums of vectors are than of as many with random signs, without what all have in common and the `trimmed`
    largest cells."""
    if len(sample) < ENOUGH:
        return np.zeros(len(sums))
    common = sample.mean(0)
    common /= max(float(np.linalg.norm(common)), 1e-12)
    along = sums @ common
    left = np.maximum(energy - along**2 / np.maximum(count, 1), 0.05 * energy + 1e-9)
    squares = np.sort((sums - along[:, None] * common) ** 2, axis=1)[:, : WIDTH - trimmed]
    return np.asarray((squares.sum(1) - left) / (left * np.sqrt(2 / WIDTH)))
