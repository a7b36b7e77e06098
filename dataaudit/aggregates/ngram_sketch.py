"""How often each n-gram occurs, and with which target, in hashed cells: a first pass that says what is worth counting.

Two tables of cells (Cormode and Muthukrishnan 2005, one row): texts per n-gram, and texts per (n-gram, target).
A cell counts everything that hashes to it, so it is an upper bound; its typical value is the noise to rise above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sorted_arrays import matched
from dataaudit.aggregates.targets import TargetsView
from dataaudit.features.table import listed

TEXT_CELLS = 1 << 21
PAIR_CELLS = 1 << 22


INCIDENCE = ("targets", "surprise", "word_pairs", "word_order")
INCIDENCE_COLUMNS = ("ngrams", "target_embedding", "characters", "word_windows")
"""The views and columns that `incidence` reads."""


@dataclass(frozen=True)
class Incidence:
    """The n-grams of a batch, flat: `row[i]` has `ngram[i]`; `target[row]` is its target; `unlike` marks texts unlike text, whose target
    is number `extra` besides.

    These are gibberish by their characters (`surprise`), or answers with words in no order (`word_order`).
    """

    row: NDArray[np.int64]
    ngram: NDArray[np.uint64]
    target: NDArray[np.int32]
    unlike: NDArray[np.bool_]
    extra: int

    def holding(self, candidates: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """(row, candidate) of every text that holds one of the candidates, ascending n-grams."""
        at, candidate = matched(self.ngram, candidates)
        return self.row[at], candidate

    def teaches(self, row: NDArray[np.int64], wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each row teaches the target wanted of it."""
        return np.asarray((self.target[row] == wanted) | ((wanted == self.extra) & self.unlike[row]))

    def taught(self) -> list[tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int64]]]:
        """(n-grams, their targets, their rows): once for the ordinary target, once more for texts unlike text."""
        own, unlike = self.target[self.row], self.unlike[self.row]
        more = np.full(np.count_nonzero(unlike), self.extra, np.int32)
        return [(self.ngram[own >= 0], own[own >= 0], self.row[own >= 0]), (self.ngram[unlike], more, self.row[unlike])]


@dataclass(frozen=True)
class NgramSketchState:
    rows: int
    targets: NDArray[np.int64]
    text_cells: NDArray[np.int32]
    text_counts: NDArray[np.int32]
    pair_cells: NDArray[np.int32]
    pair_counts: NDArray[np.int32]


@dataclass(frozen=True)
class NgramSketchView:
    """`targets[i]` samples teach target i; the last entry is the extra target "unlike text"."""

    rows: int
    targets: NDArray[np.int64]
    texts: NDArray[np.int32]
    pairs: NDArray[np.int32]
    text_noise: int
    pair_noise: int

    def texts_with(self, ngram: NDArray[np.uint64]) -> NDArray[np.int64]:
        """About how many texts hold each n-gram, at least 0."""
        return np.maximum(self.texts[text_cell(ngram)].astype(np.int64) - self.text_noise, 0)

    def pairs_with(self, ngram: NDArray[np.uint64], target: NDArray[np.int32]) -> NDArray[np.int64]:
        """About how many texts hold each n-gram and teach the target."""
        return np.maximum(self.pairs[pair_cell(ngram, target)].astype(np.int64) - self.pair_noise, 0)


@dataclass(frozen=True)
class NgramSketch:
    """Counts in hashed cells, kept sparse; at most 50 MB."""

    needs: ClassVar[tuple[str, ...]] = INCIDENCE
    columns: ClassVar[tuple[str, ...]] = INCIDENCE_COLUMNS
    State: ClassVar[type] = NgramSketchState
    View: ClassVar[type] = NgramSketchView

    def start(self, table: pa.Table, views: Views) -> NgramSketchState:
        seen = incidence(table, views)
        counts = np.bincount(seen.target[seen.target >= 0], minlength=seen.extra + 1).astype(np.int64)
        counts[seen.extra] = np.count_nonzero(seen.unlike)
        pairs = [pair_cell(ngram, target) for ngram, target, _ in seen.taught()]
        return NgramSketchState(
            len(table), counts, *_sparse(text_cell(seen.ngram), TEXT_CELLS), *_sparse(np.concatenate(pairs), PAIR_CELLS)
        )

    def merge(self, a: NgramSketchState, b: NgramSketchState) -> NgramSketchState:
        texts = _add(TEXT_CELLS, (a.text_cells, a.text_counts), (b.text_cells, b.text_counts))
        pairs = _add(PAIR_CELLS, (a.pair_cells, a.pair_counts), (b.pair_cells, b.pair_counts))
        return NgramSketchState(a.rows + b.rows, a.targets + b.targets, *_nonzero(texts), *_nonzero(pairs))

    def finish(self, state: NgramSketchState, views: Views) -> NgramSketchView:
        texts = _add(TEXT_CELLS, (state.text_cells, state.text_counts))
        pairs = _add(PAIR_CELLS, (state.pair_cells, state.pair_counts))
        return NgramSketchView(state.rows, state.targets, texts, pairs, int(np.median(texts)), int(np.median(pairs)))


def incidence(table: pa.Table, views: Views) -> Incidence:
    """The n-grams and targets of a batch; a batch without n-grams (another modality) has none."""
    targets: TargetsView = views["targets"]
    unlike = views["surprise"].unlike(table) | views["word_order"].unordered(table, views)
    target = targets.index(table) if len(targets.names) else np.full(len(table), -1, np.int32)
    return Incidence(*listed(table, "ngrams"), target, unlike, len(targets.names))


def text_cell(ngram: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of an n-gram."""
    return ((ngram * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(43)).astype(np.int64)


def pair_cell(ngram: NDArray[np.uint64], target: NDArray[np.int32]) -> NDArray[np.int64]:
    """The cell of an n-gram taught with a target."""
    mixed = (ngram ^ (target.astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93))) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(42)).astype(np.int64)


def _sparse(cells: NDArray[np.int64], size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return _nonzero(np.bincount(cells, minlength=size).astype(np.int32))


def _nonzero(dense: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    cells = np.flatnonzero(dense)
    return cells.astype(np.int32), dense[cells]


def _add(size: int, *parts: tuple[NDArray[np.int32], NDArray[np.int32]]) -> NDArray[np.int32]:
    dense = np.zeros(size, np.int32)
    for cells, counts in parts:
        dense[cells] += counts
    return dense
