"""Which n-grams go with which target: exact counts of the pairs that the sketch says are worth counting.

N-grams with the very same carriers (the parts of one phrase, most often) are one candidate.  They are told by
the sum, modulo 2**64, of a hash of each carrier's content: equal sets have equal sums in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.ngram_sketch import NgramSketchView, incidence, taught
from dataaudit.features.ngrams import order_of

PARTS = 4
_MIX = np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class NgramPairsState:
    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    count: NDArray[np.int32]
    carriers: NDArray[np.uint64]


@dataclass(frozen=True)
class NgramPairsView:
    """Candidates sorted by `ngram` (each once, with its most associated target).

    `words` (n, 4) holds the single words with the same carriers (0 where none), `size` how many n-grams share them,
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
    """Exact counts of (n-gram, target), at most `most` of them, chosen by hash where there are more."""

    needs: ClassVar[tuple[str, ...]] = ("targets", "surprise", "ngram_sketch")
    columns: ClassVar[tuple[str, ...]] = ("ngrams", "target_embedding", "characters")
    State: ClassVar[type] = NgramPairsState
    View: ClassVar[type] = NgramPairsView

    min_count: int = 5
    min_purity: float = 0.8
    min_z: float = 2.0
    most: int = 2_000_000
    candidates: int = 16_384

    def start(self, table: pa.Table, views: Views) -> NgramPairsState:
        sketch: NgramSketchView = views["ngram_sketch"]
        fingerprint = np.asarray(table.column("rank")) * _MIX
        found = []
        for ngram, target, row in taught(incidence(table, views), len(sketch.targets) - 1):
            count = sketch.pairs_with(ngram, target)
            worth = (count >= self.min_count) & (count >= self.min_purity * 0.8 * sketch.texts_with(ngram))
            worth[worth] = association(count[worth], sketch.texts_with(ngram[worth]), target[worth], sketch) >= self.min_z
            kept = np.flatnonzero(worth)
            found.append((ngram[kept], target[kept], np.ones(len(kept), np.int32), fingerprint[row[kept]]))
        return self._limited(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def merge(self, a: NgramPairsState, b: NgramPairsState) -> NgramPairsState:
        names = ("ngram", "target", "count", "carriers")
        return self._limited(*(np.concatenate([getattr(a, n), getattr(b, n)]) for n in names))

    def finish(self, state: NgramPairsState, views: Views) -> NgramPairsView:
        sketch: NgramSketchView = views["ngram_sketch"]
        examined = float(state.ngram[-1]) / 2**64 if len(state.ngram) >= self.most else 1.0
        enough = state.count >= self.min_count
        ngram, target, count, carriers = state.ngram[enough], state.target[enough], state.count[enough], state.carriers[enough]
        z = association(count.astype(np.int64), sketch.texts_with(ngram), target, sketch)
        best = _first_of_each(np.lexsort((-z, ngram)), ngram)
        order = best[np.lexsort((ngram[best], -order_of(ngram[best]), target[best], carriers[best]))]
        same = np.cumsum(np.r_[True, (carriers[order][1:] != carriers[order][:-1]) | (target[order][1:] != target[order][:-1])]) - 1
        leader = order[np.flatnonzero(np.r_[True, same[1:] != same[:-1]])] if len(order) else order
        words, size = _words(ngram[order], same[: len(order)])
        chosen = np.lexsort((ngram[leader], -z[leader]))[: self.candidates]
        chosen = chosen[np.argsort(ngram[leader[chosen]])]
        at = leader[chosen]
        return NgramPairsView(ngram[at], target[at], count[at], words[chosen], size[chosen], examined, int(enough.sum()))

    def _limited(
        self, ngram: NDArray[np.uint64], target: NDArray[np.int32], count: NDArray[np.int32], carriers: NDArray[np.uint64]
    ) -> NgramPairsState:
        """Equal pairs summed, in order of the n-gram's hash; only the first `most` (whatever is dropped stays dropped in any merge)."""
        order = np.lexsort((target, ngram))
        ngram, target = ngram[order], target[order]
        first = np.flatnonzero(np.r_[True, (ngram[1:] != ngram[:-1]) | (target[1:] != target[:-1])]) if len(order) else order
        with np.errstate(over="ignore"):
            counts, sums = (np.add.reduceat(x[order], first) if len(order) else x for x in (count, carriers))
        cut = slice(0, self.most)
        return NgramPairsState(ngram[first][cut], target[first][cut], counts[cut].astype(np.int32), sums[cut].astype(np.uint64))


def association(
    count: NDArray[np.int64], texts: NDArray[np.int64], target: NDArray[np.int32], sketch: NgramSketchView
) -> NDArray[np.float64]:
    """How many standard deviations more of the carriers teach the target than chance would have it."""
    share = np.clip(sketch.targets[target] / max(sketch.rows, 1), 1e-9, 1 - 1e-9)
    carriers = np.maximum(texts, count)
    return np.asarray((count - carriers * share) / np.sqrt(carriers * share * (1 - share)))


def _first_of_each(order: NDArray[np.intp], value: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Of positions sorted by value, the first of each value."""
    if not len(order):
        return order
    return order[np.r_[True, value[order][1:] != value[order][:-1]]]


def _words(ngram: NDArray[np.uint64], group: NDArray[np.intp]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Up to four single words of each group, and the group's size; rows are ordered by group."""
    groups = int(group[-1]) + 1 if len(group) else 0
    words = np.zeros((groups, PARTS), np.uint64)
    single = np.flatnonzero(order_of(ngram) == 1)
    within = np.arange(len(single)) - np.searchsorted(group[single], group[single])
    fits = within < PARTS
    words[group[single[fits]], within[fits]] = ngram[single[fits]]
    return words, np.bincount(group, minlength=groups).astype(np.int32)
