"""Which texts have their words in no order: words drawn at random from those of the data.

Of two words as common as these, how often has another text this pair?  Two tables by the commonness of the left and the
right word answer it: for neighbours as they stand, and for words put together at random.  A text of random words lacks
the pairs that its words should have.  By how much, counted where the tables differ, is its *shortfall*, in standard
deviations; texts also differ by a share `spread` of what is expected of them, as passages that the data repeats and new
ones do.  Rare words (names, foreign writing, code) should have no known pairs, so that they cannot lack them.
Souly et al., "Poisoning attacks on LLMs require a near-constant number of poison samples", 2025, arXiv:2510.07192
(random tokens of the vocabulary); the statistic is this project's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.sampling import bottom_k
from dataaudit.aggregates.word_pairs import BINS, WordPairsView, brought

CELLS = BINS * BINS
SHUFFLES = 4


@dataclass(frozen=True)
class WordOrderState:
    """Of the texts with the lowest ranks (r,) the hashes, and the names of `size` (r,) neighbours each, one text after another."""

    rank: NDArray[np.uint64]
    text: NDArray[np.uint64]
    size: NDArray[np.int32]
    left: NDArray[np.uint32]
    right: NDArray[np.uint32]


@dataclass(frozen=True)
class WordOrderView:
    """By commonness of left and right (256) how often a pair is known: `usual` in writing, by `chance` among random words.

    Texts whose shortfall is beyond `gate` are in no order.
    """

    usual: NDArray[np.float64]
    chance: NDArray[np.float64]
    spread: float
    gate: float

    def unordered(self, table: pa.Table, views: Views) -> NDArray[np.bool_]:
        """Which rows are words in no order; `views` holds `word_pairs`."""
        return np.asarray(self.shortfall(table, views) > self.gate)

    def shortfall(self, table: pa.Table, views: Views) -> NDArray[np.float64]:
        """How many deviations each row is short of known pairs."""
        beside, pairs = brought(table, views), views["word_pairs"]
        kind, seen = _known(pairs, beside.left, beside.right, beside.text[beside.row])
        return shortfall(beside.row, kind, seen, len(table), self)


@dataclass(frozen=True)
class WordOrder:
    """What neighbours are usual, on the bottom-k sample; the gate is `least` deviations, or what all but `most` of the texts stay below."""

    needs: ClassVar[tuple[str, ...]] = ("word_pairs",)
    columns: ClassVar[tuple[str, ...]] = ("word_windows", "ngrams")
    State: ClassVar[type] = WordOrderState
    View: ClassVar[type] = WordOrderView

    sample: int = 16_000
    spread: float = 0.1
    least: float = 2.8
    most: float = 0.05

    def start(self, table: pa.Table, views: Views) -> WordOrderState:
        rank = np.asarray(table.column("rank")).astype(np.uint64)
        kept = bottom_k(rank, self.sample)
        beside = brought(table, views)
        size = np.bincount(beside.row, minlength=len(table))
        at = _places(np.cumsum(size) - size, size, kept)
        return WordOrderState(
            rank[kept],
            beside.text[kept],
            size[kept].astype(np.int32),
            beside.left[at].astype(np.uint32),
            beside.right[at].astype(np.uint32),
        )

    def merge(self, a: WordOrderState, b: WordOrderState) -> WordOrderState:
        rank, text, size = (np.concatenate([x, y]) for x, y in ((a.rank, b.rank), (a.text, b.text), (a.size, b.size)))
        kept = bottom_k(rank, self.sample)
        at = _places(np.cumsum(size) - size, size, kept)
        left, right = np.concatenate([a.left, b.left])[at], np.concatenate([a.right, b.right])[at]
        return WordOrderState(rank[kept], text[kept], size[kept], left, right)

    def finish(self, state: WordOrderState, views: Views) -> WordOrderView:
        pairs: WordPairsView = views["word_pairs"]
        row = np.repeat(np.arange(len(state.rank)), state.size)
        left, right, text = state.left.astype(np.uint64), state.right.astype(np.uint64), state.text[row]
        kind, seen = _known(pairs, left, right, text)
        _, first = np.unique(state.text, return_index=True)
        once = np.flatnonzero(np.isin(row, first))
        usual, chance = self._tables(pairs, left[once], right[once], text[once], kind[once], seen[once])
        open_ended = WordOrderView(usual, chance, self.spread, np.inf)
        every = shortfall(row, kind, seen, len(state.rank), open_ended)
        gate = max(self.least, float(np.quantile(every, 1 - self.most))) if len(every) else self.least
        return WordOrderView(usual, chance, self.spread, gate)

    def _tables(
        self,
        pairs: WordPairsView,
        left: NDArray[np.uint64],
        right: NDArray[np.uint64],
        text: NDArray[np.uint64],
        kind: NDArray[np.int64],
        seen: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How often pairs are known as they stand, and of words put together at random; what few pairs say is taken for chance."""
        rng = np.random.default_rng(0)
        mixed = [_known(pairs, left, right[rng.permutation(len(right))], text) for _ in range(SHUFFLES)]
        kinds, known = np.concatenate([k for k, _ in mixed]), np.concatenate([s for _, s in mixed])
        noise = (np.count_nonzero(pairs.pairs) + 1) / len(pairs.pairs)
        chance = (np.bincount(kinds, known, CELLS) + noise) / (np.bincount(kinds, minlength=CELLS) + 1)
        usual = (np.bincount(kind, seen, CELLS) + 5 * chance) / (np.bincount(kind, minlength=CELLS) + 5)
        return np.maximum(usual, chance), chance


def shortfall(
    row: NDArray[np.int64], kind: NDArray[np.int64], seen: NDArray[np.bool_], rows: int, view: WordOrderView
) -> NDArray[np.float64]:
    """By row how many deviations too few of its pairs are known, each weighed by how far the tables are apart."""
    usual, apart = view.usual[kind], (view.usual - view.chance)[kind]
    lacking = np.bincount(row, apart * (usual - seen), rows)
    most = np.bincount(row, apart**2, rows)
    variance = np.bincount(row, apart**2 * usual * (1 - usual), rows)
    floor = 0.5 * float(np.square(view.usual - view.chance).max(initial=0.0))
    return np.asarray(lacking / np.sqrt(variance + 0.25 * floor + np.square(view.spread * most) + 1e-12))


def _known(
    pairs: WordPairsView, left: NDArray[np.uint64], right: NDArray[np.uint64], text: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The cell of the tables that each pair belongs to, and whether another text has it."""
    return pairs.commonness(left, text) * BINS + pairs.commonness(right, text), pairs.seen(left, right, text)


def _places(start: NDArray[np.int64], size: NDArray[np.integer], kept: NDArray[np.intp]) -> NDArray[np.int64]:
    """Where the neighbours of the texts kept stand, in order of these."""
    sizes = size[kept].astype(np.int64)
    return np.repeat(start[kept] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
