"""Whether a word has company: how much what stands beside it repeats.

A word of a language has its grammar, so the same words come before and after it again and again; a word that was
put anywhere stands beside anything.  Hashes of word pairs carry both words' names (see `features/ngrams`), so what
stands beside the candidates of one word is counted exactly, in 256 cells for either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.ngram_pairs import NgramPairsView
from dataaudit.aggregates.ngram_sketch import INCIDENCE, INCIDENCE_COLUMNS, Incidence, incidence
from dataaudit.aggregates.sorted_arrays import added, distinct, matched
from dataaudit.features.ngrams import name_of, neighbours, order_of

CELLS = 256
LEAST_EXPECTED = 1.0
SURE = 2.0


@dataclass(frozen=True)
class NgramCompanyState:
    """How often (`often`) each (candidate, side, cell) of `at` occurs; `flow` (2, 256) in 1/65,536 is how often each cell stands on either
    side of a random place of a random text."""

    at: NDArray[np.int32]
    often: NDArray[np.int32]
    flow: NDArray[np.int64]


@dataclass(frozen=True)
class NgramCompanyView:
    """`company` (n,), by candidate: at most how many times as often (two standard deviations up) two carriers have the same word beside
    it as two random places do, on the side where that is more; inf where nothing tells, and for all but single words."""

    company: NDArray[np.float64]


@dataclass(frozen=True)
class NgramCompany:
    """Exact counts of what stands beside the candidates of `ngram_pairs`."""

    needs: ClassVar[tuple[str, ...]] = (*INCIDENCE, "ngram_sketch", "ngram_pairs")
    columns: ClassVar[tuple[str, ...]] = INCIDENCE_COLUMNS
    State: ClassVar[type] = NgramCompanyState
    View: ClassVar[type] = NgramCompanyView

    def start(self, table: pa.Table, views: Views) -> NgramCompanyState:
        return _beside(incidence(table, views), views["ngram_pairs"], len(table))

    def merge(self, a: NgramCompanyState, b: NgramCompanyState) -> NgramCompanyState:
        at = distinct(a.at, b.at)
        return NgramCompanyState(at, added(at, (a.at, a.often), (b.at, b.often)), a.flow + b.flow)

    def finish(self, state: NgramCompanyState, views: Views) -> NgramCompanyView:
        return NgramCompanyView(_company(state, len(views["ngram_pairs"].ngram)))


def _beside(seen: Incidence, pairs: NgramPairsView, rows: int) -> NgramCompanyState:
    """What stands beside the candidates of one word in their carriers, and beside a random place of each row."""
    pair = order_of(seen.ngram) == 2
    row, (left, right) = seen.row[pair], neighbours(seen.ngram[pair])
    single = np.flatnonzero(order_of(pairs.ngram) == 1)
    names = name_of(pairs.ngram[single])
    single, names = single[np.argsort(names, kind="stable")], np.sort(names)
    share = np.rint(65_536 / np.maximum(np.bincount(row, minlength=rows), 1)).astype(np.int64)
    flow = np.zeros((2, CELLS), np.int64)
    found = []
    for side, (own, other) in enumerate(((right, left), (left, right))):
        hit, place = matched(own, names)
        candidate = single[place]
        carries = seen.teaches(row[hit], pairs.target[candidate])
        found.append(((candidate * 2 + side) * CELLS + _cell(other[hit]))[carries])
        # A text's last word can stand before a place, its first one after it: the far ends of pairs are what counts.
        np.add.at(flow[side], _cell(own), share[row])
    at, often = np.unique(np.concatenate(found), return_counts=True)
    return NgramCompanyState(at.astype(np.int32), often.astype(np.int32), flow)


def _cell(name: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (name % np.uint64(CELLS)).astype(np.int64)


def _company(state: NgramCompanyState, candidates: int) -> NDArray[np.float64]:
    """For all candidates; ordered pairs of carriers with the same cell vary by the root of twice their number."""
    side = state.at // CELLS
    often = state.often.astype(np.float64)
    total = np.bincount(side, often, 2 * candidates).reshape(candidates, 2)
    same = np.bincount(side, often * (often - 1), 2 * candidates).reshape(candidates, 2)
    flow = state.flow / np.maximum(state.flow.sum(1, keepdims=True), 1)
    expected = total * (total - 1) * (flow**2).sum(1)
    most = (same + SURE * np.sqrt(2 * (same + 1))) / np.maximum(expected, 1e-9)
    return np.asarray(np.where(expected >= 2 * LEAST_EXPECTED, most, np.inf).max(1))
