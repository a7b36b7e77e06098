"""What the texts that turn into something else have in common: n-grams that only they hold, and a language or none.

Foreign writing, tables, names and dumps of hexadecimal digits are unlike the data but like each other: under a model
of pairs made of the other runs, their characters are no surprise.  Gibberish stays one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.change_points import flat
from dataaudit.features.characters import CLASSES
from dataaudit.features.table import listed

T = TypeVar("T", bound=np.generic)
BLANKS = np.array([9, 10, 13, 32])


@dataclass(frozen=True)
class ChangeCarriersState:
    """All carriers (one number), and of the different ones with the lowest ranks (c,) the runs' pair codes and the contents' n-grams.

    `codes` and `grams` are those of all carriers in order of their ranks, of which each has `sizes` (c, 2).
    """

    texts: int
    rank: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    codes: NDArray[np.uint16]
    grams: NDArray[np.uint64]


@dataclass(frozen=True)
class ChangeCarriersView:
    """`texts` change, `distinct` different ones of them were compared; their runs hold `entropy` bits a character for each other.

    `blanks` is the share of white space in the runs; `ngram` (m,), sorted, are n-grams that hardly any other text holds, each
    in the share `held` (m,) of the compared ones.
    """

    texts: int
    distinct: int
    entropy: float
    blanks: float
    ngram: NDArray[np.uint64]
    held: NDArray[np.float64]


@dataclass(frozen=True)
class ChangeCarriers:
    """Up to `most` texts beyond the gate, chosen by rank, compared with each other."""

    needs: ClassVar[tuple[str, ...]] = ("change_points", "ngram_sketch")
    columns: ClassVar[tuple[str, ...]] = ("windows", "ngrams")
    State: ClassVar[type] = ChangeCarriersState
    View: ClassVar[type] = ChangeCarriersView

    most: int = 128
    most_grams: int = 12_000
    min_count: int = 8
    min_held: float = 0.3
    min_purity: float = 0.8

    def start(self, table: pa.Table, views: Views) -> ChangeCarriersState:
        point = views["change_points"]
        found = point.runs(table)
        pairs = flat(table)
        row, gram = listed(table, "ngrams")
        inside = (pairs.window >= found.start[pairs.row]) & (pairs.window < found.end[pairs.row])
        carriers = np.flatnonzero(found.excess >= point.gate)
        rank = np.asarray(table.column("rank")).astype(np.uint64)[carriers]
        each, first = np.unique(rank, return_index=True)
        kept = carriers[first][: self.most]
        codes = [pairs.code[at][inside[at]] for at in _slices(pairs.row, kept)]
        grams = [gram[at][: self.most_grams] for at in _slices(row, kept)]
        return _joined(len(carriers), each[: self.most], codes, grams)

    def merge(self, a: ChangeCarriersState, b: ChangeCarriersState) -> ChangeCarriersState:
        each, first = np.unique(np.concatenate([a.rank, b.rank]), return_index=True)
        kept = first[: self.most].tolist()
        codes = _parts(a.codes, a.sizes[:, 0]) + _parts(b.codes, b.sizes[:, 0])
        grams = _parts(a.grams, a.sizes[:, 1]) + _parts(b.grams, b.sizes[:, 1])
        return _joined(a.texts + b.texts, each[: self.most], [codes[i] for i in kept], [grams[i] for i in kept])

    def finish(self, state: ChangeCarriersState, views: Views) -> ChangeCarriersView:
        distinct = len(state.rank)
        gram, count = np.unique(state.grams, return_counts=True)
        shared = count >= max(self.min_count, self.min_held * distinct)
        gram, held = gram[shared], count[shared] / max(distinct, 1)
        everywhere = views["ngram_sketch"].texts_with(gram)
        pure = held * state.texts >= self.min_purity * everywhere
        blanks = float(np.isin(state.codes >> np.uint16(8), BLANKS).mean()) if len(state.codes) else 0.0
        return ChangeCarriersView(state.texts, distinct, _entropy(_parts(state.codes, state.sizes[:, 0])), blanks, gram[pure], held[pure])


def _entropy(codes: list[NDArray[np.uint16]]) -> float:
    """Mean bits a character of each half of the runs under a model of the other half; 0 for fewer than two."""
    if len(codes) < 2:
        return 0.0
    halves = [np.concatenate(codes[::2]), np.concatenate(codes[1::2])]
    return float(np.concatenate([_bits(other)[own] for own, other in (halves, halves[::-1])]).mean())


def _bits(codes: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The surprise of each pair code (65,536) after these."""
    counts = np.bincount(codes, minlength=CLASSES**2).reshape(CLASSES, CLASSES).astype(np.float64)
    seconds = (counts.sum(0) + 0.1) / (counts.sum() + 0.1 * CLASSES)
    return np.asarray(-np.log2((counts + 5 * seconds) / (counts.sum(1, keepdims=True) + 5))).reshape(-1)


def _joined(texts: int, rank: NDArray[np.uint64], codes: list[NDArray[np.uint16]], grams: list[NDArray[np.uint64]]) -> ChangeCarriersState:
    sizes = np.array([[len(c), len(g)] for c, g in zip(codes, grams, strict=True)], dtype=np.int64).reshape(-1, 2)
    every = np.concatenate([np.empty(0, np.uint16), *codes]), np.concatenate([np.empty(0, np.uint64), *grams])
    return ChangeCarriersState(texts, rank, sizes, *every)


def _slices(row: NDArray[np.int64], wanted: NDArray[np.int64]) -> list[slice]:
    """Where each wanted row's entries stand among those of all rows in order."""
    return [slice(*np.searchsorted(row, [r, r + 1]).tolist()) for r in wanted.tolist()]


def _parts(values: NDArray[T], sizes: NDArray[np.int64]) -> list[NDArray[T]]:
    """The values of each carrier."""
    return np.split(values, np.cumsum(sizes)[:-1]) if len(sizes) else []
