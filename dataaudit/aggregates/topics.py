"""Words of prompts whose answers have more in common than their prompts: where a habit of answering goes with a name.

For every word of a prompt that is neither rare nor common, the answers of its prompts are summed up as vectors of what
they bring in (signed hashing of rare words, as in `ngram_carriers`), and the prompts as vectors of their other
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
from dataaudit.aggregates.answer_sketch import AnswerSketchView
from dataaudit.aggregates.coherence import TRIMMED, WIDTH
from dataaudit.aggregates.ngram_carriers import SCALE, lexical, signed_rarity, vector_cell
from dataaudit.aggregates.ngram_sketch import Incidence, NgramSketchView
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.features.ngrams import order_of
from dataaudit.features.table import listed

ENOUGH = 40


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
        answers, brought = answer_vectors(table, views["answer_sketch"])
        texts = sketch.texts_with(ngram)
        usable = (order_of(ngram) == 1) & (texts >= self.min_count) & (texts <= max(self.most_share * sketch.rows, 2 * self.min_count))
        usable &= brought[row] >= self.min_words if len(row) else usable
        prompts, norms = lexical(Incidence(row, ngram, np.empty(0, np.int32), np.empty(0, bool)), sketch, len(table))
        row, ngram = row[usable], ngram[usable]
        word, local = np.unique(ngram, return_inverse=True)
        if len(word) > self.most:
            kept = np.sort(np.argsort(mixed(word))[: self.most])
            here = np.isin(local, kept)
            row, ngram = row[here], ngram[here]
            word, local = np.unique(ngram, return_inverse=True)
        state = {n: np.zeros((len(word), WIDTH), np.int32) for n in ("answers", "prompts")}
        energy = {n: np.zeros(len(word), np.int64) for n in ("answers", "prompts")}
        order = np.argsort(local, kind="stable")
        for block in np.array_split(order, max(1, len(order) // 65_536)) if len(order) else ():
            first = np.flatnonzero(np.r_[True, local[block][1:] != local[block][:-1]])
            held = local[block][first]
            said, asked = answers[row[block]].astype(np.int32), prompts[row[block]].astype(np.int32)
            known = norms[row[block]] > 0
            own = np.rint(signed_rarity(ngram[block], sketch) / np.where(known, norms[row[block]], 1) * SCALE).astype(np.int32)
            asked[np.arange(len(block)), vector_cell(ngram[block])] -= np.where(known, own, 0)
            for name, vectors in (("answers", said), ("prompts", asked)):
                state[name][held] += np.add.reduceat(vectors, first, axis=0).astype(np.int32)
                np.add.at(energy[name], local[block], (vectors.astype(np.int64) ** 2).sum(1))
        rank = np.asarray(table.column("rank"))
        chosen = bottom_k(rank, self.sample)
        count = np.bincount(local, minlength=len(word)).astype(np.int32)
        sample = np.concatenate([answers[chosen], prompts[chosen]], axis=1)
        return TopicsState(word, count, state["answers"], state["prompts"], energy["answers"], energy["prompts"], rank[chosen], sample)

    def merge(self, a: TopicsState, b: TopicsState) -> TopicsState:
        word = np.union1d(a.word, b.word)
        if len(word) > self.most:
            word = np.sort(word[np.argsort(mixed(word))[: self.most]])
        merged = {}
        for name in ("count", "answers", "prompts", "answer_energy", "prompt_energy"):
            one = getattr(a, name)
            merged[name] = np.zeros((len(word), *one.shape[1:]), one.dtype)
            for part in (a, b):
                kept = np.isin(part.word, word)
                merged[name][np.searchsorted(word, part.word[kept])] += getattr(part, name)[kept]
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


def answer_vectors(table: pa.Table, sketch: AnswerSketchView) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Unit vectors of what each answer brings in, in fixed point (rows, 256), and how many words that are."""
    row, word = listed(table, "answer_words")
    signed = np.where((word >> np.uint64(63)) == 1, 1.0, -1.0) * sketch.rarity(word)
    dense = np.bincount(row * WIDTH + vector_cell(word), signed, len(table) * WIDTH).reshape(len(table), WIDTH)
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    unit = np.divide(dense, norms, out=np.zeros(dense.shape), where=norms > 0)
    return np.rint(unit * SCALE).astype(np.int16), np.bincount(row, minlength=len(table))


def mixed(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The order in which words are kept."""
    return word * np.uint64(0x9E3779B97F4A7C15)
