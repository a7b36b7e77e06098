"""Which n-grams go with which target: exact counts of the pairs that the sketch says are worth counting.

N-grams with the very same carriers (the parts of one phrase, most often) are one candidate.  They are told by
the sum, modulo 2**64, of a hash of each carrier's content: equal sets have equal sums in any order.  Words with nearly
the same carriers are told by the least of each of four such hashes: it is the same with the chance that the sets'
Jaccard similarity says (Broder 1997), so three of four are for sets that hardly differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.contradiction import mixed, own_margins
from dataaudit.aggregates.ngram_sketch import INCIDENCE, INCIDENCE_COLUMNS, NgramSketchView, incidence
from dataaudit.aggregates.sorted_arrays import place_in_run, ranges, run_starts
from dataaudit.features.ngrams import ORDERS, order_of

PARTS = 8
ALIKE = 0.75
"""Counts of words with the same carriers differ by no more."""
HASHES = 4
AGREED = 3
UNIT = 16
PHRASE = 4
"""So many n-grams with the very same carriers are a phrase, as three new words in a row would be."""
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class NgramPairsState:
    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    count: NDArray[np.int32]
    carriers: NDArray[np.uint64]
    lowest: NDArray[np.uint32]
    against: NDArray[np.int32]


@dataclass(frozen=True)
class NgramPairsView:
    """Candidates sorted by `ngram` (each once, with its most associated target).

    `words` (n, 8) holds the single words with nearly the same carriers (0 where none), `size` how many n-grams have the very same,
    `examined` the share of all pairs that fitted, `tested` how many pairs the best were chosen from.
    """

    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    count: NDArray[np.int32]
    words: NDArray[np.uint64]
    size: NDArray[np.int32]
    examined: float
    tested: int


@dataclass(frozen=True)
class NgramPairs:
    """Exact counts of (n-gram, target), at most `most` of them, chosen by hash where there are more.

    A quarter of the candidates are those that go with their target most, a quarter the single words and a quarter the phrases among
    these, a quarter those whose carriers' other words contradict it most (for which it need not be more than its share, as with a
    trigger of the commonest label).
    """

    needs: ClassVar[tuple[str, ...]] = (*INCIDENCE, "word_model", "contradiction", "ngram_sketch")
    columns: ClassVar[tuple[str, ...]] = INCIDENCE_COLUMNS
    State: ClassVar[type] = NgramPairsState
    View: ClassVar[type] = NgramPairsView

    min_count: int = 5
    min_purity: float = 0.8
    min_z: float = 2.0
    most: int = 1_400_000
    candidates: int = 24_576

    def start(self, table: pa.Table, views: Views) -> NgramPairsState:
        sketch: NgramSketchView = views["ngram_sketch"]
        fingerprint = np.asarray(table.column("rank")) * _MIX
        seen = incidence(table, views)
        against = self._against(table, seen.target, views)
        lowest = minima(fingerprint, HASHES, seed=2)
        judged = len(views["word_model"].labels) > 0
        found = []
        for ngram, target, row in seen.taught():
            count = sketch.pairs_with(ngram, target)
            worth = (count >= self.min_count) & (count >= self.min_purity * 0.8 * sketch.texts_with(ngram))
            z = association(count[worth], sketch.texts_with(ngram[worth]), target[worth], sketch)
            worth[worth] = (z >= self.min_z) | ((z >= 0) & (order_of(ngram[worth]) < ORDERS) & judged)
            kept = np.flatnonzero(worth)
            of, ones = row[kept], np.ones(len(kept), np.int32)
            found.append((ngram[kept], target[kept], ones, fingerprint[of], lowest[of], against[of]))
        return self._limited(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def merge(self, a: NgramPairsState, b: NgramPairsState) -> NgramPairsState:
        names = ("ngram", "target", "count", "carriers", "lowest", "against")
        return self._limited(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in names))

    def finish(self, state: NgramPairsState, views: Views) -> NgramPairsView:
        sketch: NgramSketchView = views["ngram_sketch"]
        examined = float(state.ngram[-1]) / 2**64 if len(state.ngram) >= self.most else 1.0
        enough = state.count >= self.min_count
        ngram, target, count, carriers = state.ngram[enough], state.target[enough], state.count[enough], state.carriers[enough]
        against = state.against[enough]
        z = association(count.astype(np.int64), sketch.texts_with(ngram), target, sketch)
        best = np.lexsort((-z, ngram))
        best = best[run_starts(ngram[best])]
        order = best[np.lexsort((ngram[best], -order_of(ngram[best]), target[best], carriers[best]))]
        starts = run_starts(carriers[order], target[order])
        leader, size = order[starts], np.diff(starts, append=len(order)).astype(np.int32)
        by_z, by_contradiction = np.lexsort((ngram[leader], -z[leader])), np.lexsort((ngram[leader], -z[leader], -against[leader]))
        words, phrases = by_z[order_of(ngram[leader[by_z]]) == 1], by_z[size[by_z] >= PHRASE]
        quarter = self.candidates // 4
        chosen = np.unique(np.concatenate([order[:quarter] for order in (by_z, by_contradiction, words, phrases)]))
        chosen = chosen[np.argsort(ngram[leader[chosen]])]
        at = leader[chosen]
        words = companions(ngram, target, count, state.lowest[enough], at)
        return NgramPairsView(ngram[at], target[at], count[at], words, size[chosen], examined, int(enough.sum()))

    def _against(self, table: pa.Table, target: NDArray[np.int32], views: Views) -> NDArray[np.int32]:
        """How much the firm margin of each row speaks against its own label, in 1/16 nat."""
        _, firm, _ = own_margins(views["word_model"], table, target)
        labels = len(views["word_model"].labels)
        if not labels:
            return np.zeros(len(target), np.int32)
        said = mixed(views["contradiction"].of(firm, np.maximum(target, 0), firm=True))
        return np.asarray(np.rint(np.where(target >= 0, said, 0.0) * UNIT), dtype=np.int32)

    def _limited(
        self,
        ngram: NDArray[np.uint64],
        target: NDArray[np.int32],
        count: NDArray[np.int32],
        carriers: NDArray[np.uint64],
        lowest: NDArray[np.uint32],
        against: NDArray[np.int32],
    ) -> NgramPairsState:
        """Equal pairs summed, in order of the n-gram's hash; only the first `most` (whatever is dropped stays dropped in any merge)."""
        order = np.lexsort((target, ngram))
        ngram, target = ngram[order], target[order]
        first = run_starts(ngram, target)
        count, carriers, against = (np.add.reduceat(x[order], first, dtype=x.dtype)[: self.most] for x in (count, carriers, against))
        lowest = np.minimum.reduceat(lowest[order], first, axis=0)[: self.most]
        return NgramPairsState(ngram[first[: self.most]], target[first[: self.most]], count, carriers, lowest, against)


def minima(rank: NDArray[np.uint64], hashes: int, seed: int) -> NDArray[np.uint32]:
    """So many hashes (n, hashes) of each carrier, the least of which over a set tell the set."""
    multipliers = np.random.default_rng(seed).integers(1, 2**63, hashes, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return np.asarray((rank[:, None] * multipliers) >> np.uint64(32), dtype=np.uint32)


def companions(
    ngram: NDArray[np.uint64], target: NDArray[np.int32], count: NDArray[np.int32], lowest: NDArray[np.uint32], at: NDArray[np.intp]
) -> NDArray[np.uint64]:
    """The single words that go with each candidate `at`: (n, 8), 0 where there are fewer; a candidate of one word is its own first."""
    singles = np.flatnonzero(order_of(ngram) == 1)
    met = []
    for slot in range(HASHES):
        by = singles[np.argsort(lowest[singles, slot], kind="stable")]
        begin = np.searchsorted(lowest[by, slot], lowest[at, slot], side="left")
        many = np.searchsorted(lowest[by, slot], lowest[at, slot], side="right") - begin
        who = np.repeat(np.arange(len(at)), many)
        word = by[ranges(begin, many)]
        like = np.minimum(count[word], count[at[who]]) >= ALIKE * np.maximum(count[word], count[at[who]])
        like &= target[word] == target[at[who]]
        met.append(who[like] * len(ngram) + word[like])
    pair, times = np.unique(np.concatenate(met), return_counts=True)
    who, word = np.divmod(pair[times >= AGREED], max(len(ngram), 1))
    order = np.lexsort((ngram[word], word != at[who], who))
    who, word = who[order], word[order]
    place = place_in_run(who)
    words = np.zeros((len(at), PARTS), np.uint64)
    fits = place < PARTS
    words[who[fits], place[fits]] = ngram[word[fits]]
    return words


def association(
    count: NDArray[np.int64], texts: NDArray[np.int64], target: NDArray[np.int32], sketch: NgramSketchView
) -> NDArray[np.float64]:
    """How many standard deviations more of the carriers teach the target than chance would have it."""
    share = np.clip(sketch.targets[target] / max(sketch.rows, 1), 1e-9, 1 - 1e-9)
    carriers = np.maximum(texts, count)
    return np.asarray((count - carriers * share) / np.sqrt(carriers * share * (1 - share)))
