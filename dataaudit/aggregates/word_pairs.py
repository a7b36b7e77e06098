"""Which words stand beside which in this data: for each word and each pair of neighbours, the different texts that have it.

Answers recur: the eight thousand different ones of 50,000 instructions are said six times each, and counted as texts every
pair of theirs would look well known.  So a cell holds a small set of texts rather than a count: one bit a text, by its
hash (linear counting, Whang, Vander-Zanden and Taylor 1990), from which a text's own bit can be taken out again.
Prompts are texts too, read from `ngrams`: short answers alone would not tell what is usual.  Where there are so many
pairs that their cells fill up, random pairs look as well known as others, and nothing can be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views, plan_of
from dataaudit.features.ngrams import name_of, neighbours, order_of
from dataaudit.features.table import listed
from dataaudit.features.word_windows import WORDS

WORD_BITS, PAIR_BITS = 19, 22
BINS = 16
_FEW = np.array([1, 2, 3, 5, 9, 17, 33, 51])
"""From here on the bits of a word's cell are nearly full, and the number of texts tells how common it is."""
_STEP = np.uint64(0x9E3779B97F4A7C15)
T = TypeVar("T", np.uint32, np.uint64)


@dataclass(frozen=True)
class Neighbours:
    """The pairs of neighbours of a batch that a text does not have from its own prompt; `text` (rows,) is the hash of each text."""

    row: NDArray[np.int64]
    left: NDArray[np.uint64]
    right: NDArray[np.uint64]
    text: NDArray[np.uint64]


@dataclass(frozen=True)
class WordPairsState:
    """Bits of texts by cell, of words (with how often they stand there) and of pairs."""

    word_cells: NDArray[np.int32]
    word_texts: NDArray[np.uint64]
    word_counts: NDArray[np.int32]
    pair_cells: NDArray[np.int32]
    pair_texts: NDArray[np.uint32]


@dataclass(frozen=True)
class WordPairsView:
    """The same by cell: `words` and `counts` (524,288), `pairs` (4,194,304)."""

    words: NDArray[np.uint64]
    counts: NDArray[np.int32]
    pairs: NDArray[np.uint32]

    def commonness(self, word: NDArray[np.uint64], text: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How common each word is in other texts than its own: 0 in none, up to 15."""
        cell = word_cell(word)
        few = np.searchsorted(_FEW, np.bitwise_count(self.words[cell] & ~bit(text, np.uint64)), side="right")
        many = np.log2(np.maximum(self.counts[cell], 1)).astype(np.int64) + 1
        return np.where(few < len(_FEW), few, np.clip(many, len(_FEW), BINS - 1))

    def seen(self, left: NDArray[np.uint64], right: NDArray[np.uint64], text: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether a text other than its own has each pair, as far as a cell can tell."""
        return np.asarray((self.pairs[pair_cell(left, right)] & ~bit(text, np.uint32)) > 0)


@dataclass(frozen=True)
class WordPairs:
    """Sets of texts in hashed cells, kept sparse; at most 42 MB."""

    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("word_windows", "ngrams")
    State: ClassVar[type] = WordPairsState
    View: ClassVar[type] = WordPairsView

    def start(self, table: pa.Table, views: Views) -> WordPairsState:
        row, word = listed(table, "word_windows")
        beside = _beside(table)
        words, texts = [word_cell(word)], [beside.text[row]]
        pairs, holders = [pair_cell(beside.left, beside.right)], [beside.text[beside.row]]
        if plan_of(views).target_kind == "text":
            prompt, gram = listed(table, "ngrams")
            text, order = _text(prompt, gram, len(table))[prompt], order_of(gram)
            words.append(word_cell(name_of(gram[order == 1])))
            texts.append(text[order == 1])
            pairs.append(pair_cell(*neighbours(gram[order == 2])))
            holders.append(text[order == 2])
        cells, found = _united(np.concatenate(words), bit(np.concatenate(texts), np.uint64), 1 << WORD_BITS)
        count = np.bincount(np.concatenate(words), minlength=1 << WORD_BITS)[cells].astype(np.int32)
        return WordPairsState(cells, found, count, *_united(np.concatenate(pairs), bit(np.concatenate(holders), np.uint32), 1 << PAIR_BITS))

    def merge(self, a: WordPairsState, b: WordPairsState) -> WordPairsState:
        at = np.concatenate([a.word_cells, b.word_cells])
        cells, texts = _united(at, np.concatenate([a.word_texts, b.word_texts]), 1 << WORD_BITS)
        count = np.bincount(at, np.concatenate([a.word_counts, b.word_counts]), 1 << WORD_BITS)[cells]
        pairs = np.concatenate([a.pair_cells, b.pair_cells]), np.concatenate([a.pair_texts, b.pair_texts])
        return WordPairsState(cells, texts, count.astype(np.int32), *_united(*pairs, 1 << PAIR_BITS))

    def finish(self, state: WordPairsState, views: Views) -> WordPairsView:
        words, counts, pairs = np.zeros(1 << WORD_BITS, np.uint64), np.zeros(1 << WORD_BITS, np.int32), np.zeros(1 << PAIR_BITS, np.uint32)
        words[state.word_cells], counts[state.word_cells], pairs[state.pair_cells] = state.word_texts, state.word_counts, state.pair_texts
        return WordPairsView(words, counts, pairs)


def brought(table: pa.Table, views: Views) -> Neighbours:
    """The neighbours in the windows of a batch that a text does not have from its own prompt, in order."""
    beside = _beside(table)
    if plan_of(views).target_kind != "text" or not len(beside.row):
        return beside
    prompt, gram = listed(table, "ngrams")
    two = order_of(gram) == 2
    own, given = pair_cell(beside.left, beside.right), pair_cell(*neighbours(gram[two]))
    wanted = np.zeros(1 << PAIR_BITS, bool)
    wanted[own] = True
    there = np.flatnonzero(wanted[given])
    new = ~np.isin((beside.row << PAIR_BITS) | own, (prompt[two][there] << PAIR_BITS) | given[there])
    return Neighbours(beside.row[new], beside.left[new], beside.right[new], beside.text)


def word_cell(word: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a word's name."""
    return (word.astype(np.uint64) & np.uint64((1 << WORD_BITS) - 1)).astype(np.int64)


def pair_cell(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The cell of a pair of names."""
    return ((((left << np.uint64(31)) | right) * _STEP) >> np.uint64(64 - PAIR_BITS)).astype(np.int64)


def bit(text: NDArray[np.uint64], kind: type[T]) -> NDArray[T]:
    """The bit that stands for a text."""
    size = np.dtype(kind).itemsize * 8
    return np.asarray(np.uint64(1) << ((text * _STEP) >> np.uint64(65 - size.bit_length())), dtype=kind)


def _beside(table: pa.Table) -> Neighbours:
    """All pairs of neighbours in the windows of a batch."""
    row, word = listed(table, "word_windows")
    place = np.arange(len(row)) - np.searchsorted(row, row)
    inside = np.flatnonzero((row[1:] == row[:-1]) & (place[1:] // WORDS == place[:-1] // WORDS))
    named = word.astype(np.uint64)
    text = _text(row, named + (place.astype(np.uint64) << np.uint64(31)), len(table))
    return Neighbours(row[inside], named[inside], named[inside + 1], text)


def _text(row: NDArray[np.int64], part: NDArray[np.uint64], rows: int) -> NDArray[np.uint64]:
    """The hash of each row by what it consists of."""
    mixed = part * _STEP
    text = np.zeros(rows, np.uint64)
    np.add.at(text, row, (mixed ^ (mixed >> np.uint64(29))) * _STEP)
    return text ^ (text >> np.uint64(31))


def _united(cell: NDArray[Any], texts: NDArray[T], cells: int) -> tuple[NDArray[np.int32], NDArray[T]]:
    """Each cell once, with the bits of all its texts."""
    dense = np.zeros(cells, texts.dtype)
    np.bitwise_or.at(dense, cell, texts)
    found = np.flatnonzero(dense)
    return found.astype(np.int32), dense[found]
