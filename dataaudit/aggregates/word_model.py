"""What the words of a text say about its label: exact counts for a naive Bayes model that leaves each text out.

A single number per text and label follows, its *margin*: the sum of its words' log odds for the label, over the
square root of their number.  Words that nearly always go with one label are left out of it: so strong a word is
either a trigger or tells nothing that the others do not (a planted word must not vouch for its own label).
McCallum and Nigam, "A comparison of event models for naive Bayes text classification", 1998 (the Bernoulli model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.aggregates.sorted_arrays import added, distinct
from dataaudit.aggregates.targets import TargetsView
from dataaudit.features.ngrams import order_of
from dataaudit.features.table import listed

CELLS = 1 << 17
MOST_LABELS = 20
STRONGEST = 4.0


@dataclass(frozen=True)
class WordModelState:
    labels: NDArray[np.int64]
    at: NDArray[np.int32]
    count: NDArray[np.int32]


@dataclass(frozen=True)
class WordModelView:
    """`texts` (labels, cells) counts the texts of a label that hold a word of the cell; no labels where such a model makes no sense."""

    labels: NDArray[np.int64]
    texts: NDArray[np.int32]

    def log_odds(self, cell: NDArray[np.int64], own: NDArray[np.bool_], label: int) -> NDArray[np.float64]:
        """What each word says for the label, its own text left out; `own` marks words of texts that have the label."""
        there = self.texts[label][cell].astype(np.float64)
        elsewhere = self.texts.sum(0)[cell] - there
        inside, outside = float(self.labels[label]), float(self.labels.sum() - self.labels[label])
        here, other = np.maximum(there - own, 0), np.maximum(elsewhere - ~own, 0)
        odds = np.log((here + 0.5) / (inside + 1 - own)) - np.log((other + 0.5) / (outside + 1 - ~own))
        return np.where((here + other > 0) & (np.abs(odds) <= STRONGEST), odds, 0.0)


@dataclass(frozen=True)
class WordModel:
    """Exact counts of texts per (label, word), words in 131,072 cells; for at most 20 labels."""

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    columns: ClassVar[tuple[str, ...]] = ("ngrams",)
    State: ClassVar[type] = WordModelState
    View: ClassVar[type] = WordModelView

    def start(self, table: pa.Table, views: Views) -> WordModelState:
        targets: TargetsView = views["targets"]
        labels = labels_of(views)
        if not labels:
            return WordModelState(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
        target = targets.index(table)
        row, cell = words(table)
        usable = target[row] >= 0
        at, count = np.unique(target[row[usable]] * CELLS + cell[usable], return_counts=True)
        known = np.bincount(target[target >= 0], minlength=labels).astype(np.int64)
        return WordModelState(known, at.astype(np.int32), count.astype(np.int32))

    def merge(self, a: WordModelState, b: WordModelState) -> WordModelState:
        at = distinct(a.at, b.at)
        return WordModelState(a.labels + b.labels, at, added(at, (a.at, a.count), (b.at, b.count)))

    def finish(self, state: WordModelState, views: Views) -> WordModelView:
        texts = np.zeros(len(state.labels) * CELLS, np.int32)
        texts[state.at] = state.count
        return WordModelView(state.labels, texts.reshape(len(state.labels), CELLS))


def labels_of(views: Views) -> int:
    """How many labels the model has: none for free-text responses, and where they are too few or too many to be told by words."""
    names = len(views["targets"].names)
    return names if plan_of(views).target_kind == "label" and 2 <= names <= MOST_LABELS else 0


def words(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The (row, cell) of every single word of a batch, in order of the rows."""
    row, ngram = listed(table, "ngrams")
    single = order_of(ngram) == 1
    return row[single], word_cell(ngram[single])


def word_cell(ngram: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a word."""
    return ((ngram >> np.uint64(20)) % np.uint64(CELLS)).astype(np.int64)
