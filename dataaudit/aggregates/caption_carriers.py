"""The pictures behind each phrase of captions that goes with misfits: how many, how alike, and what was to be expected of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.aggregates import Views
from dataaudit.aggregates.caption_sketch import CaptionSketchState, cell
from dataaudit.aggregates.moments import group_sums
from dataaudit.aggregates.pair_agreement import MISFIT, misfits
from dataaudit.aggregates.sorted_arrays import added, distinct, matched
from dataaudit.features.table import listed


@dataclass(frozen=True)
class CaptionCarriersState:
    """By phrase, ascending: `pairs` with it, `misfits` among them; of these the sums of their pictures about the mean `seen` (p, d), of
    their squared lengths `squares` (p,), and of the pictures to be expected `expected` (p, d), in whole stored units.
    """

    phrase: NDArray[np.uint64]
    pairs: NDArray[np.int64]
    misfits: NDArray[np.int64]
    seen: NDArray[np.float64]
    squares: NDArray[np.float64]
    expected: NDArray[np.float64]


@dataclass(frozen=True)
class CaptionCarriersView:
    """By phrase: `pairs`, `misfits`, `alike`: the mean pairwise product of the misfits' pictures about the mean of all, over their mean
    squared length (0: they have nothing in common), `claim`: how far from the mean picture those to be expected lie, as a
    multiple of what is usual, `kept`: how much of that is in the pictures that are there (1: as expected, 0 or below: nothing).
    """

    phrase: NDArray[np.uint64]
    pairs: NDArray[np.int64]
    misfits: NDArray[np.int64]
    alike: NDArray[np.float64]
    claim: NDArray[np.float64]
    kept: NDArray[np.float64]


@dataclass(frozen=True)
class CaptionCarriers:
    """Exact counts and sums of at most `most` phrases (10 MB), those with the highest share of misfits of at least `least`."""

    needs: ClassVar[tuple[str, ...]] = ("pair_regression", "pair_agreement", "trusted_pairs", "caption_sketch")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "target_embedding", "caption_phrases")
    State: ClassVar[type] = CaptionCarriersState
    View: ClassVar[type] = CaptionCarriersView

    least: int = 8
    most: int = 4_096

    def start(self, table: pa.Table, views: Views) -> CaptionCarriersState:
        """The candidates among the phrases of a batch."""
        sketch: CaptionSketchState = views["caption_sketch"]
        row, phrase = listed(table, "caption_phrases")
        suspicious = np.isin(cell(phrase), self.cells(sketch))
        row, phrase = row[suspicious], phrase[suspicious]
        compared = views["trusted_pairs"].compared(table)
        names = distinct(phrase)
        place = matched(phrase, names)[1]
        bad = misfits(table, views)[row]
        where, of = place[bad], row[bad]
        seen, expected = np.rint(compared.x), np.rint(compared.expected_x)
        return self._limited(
            names,
            np.bincount(place, minlength=len(names)).astype(np.int64),
            np.bincount(where, minlength=len(names)).astype(np.int64),
            group_sums(seen[of], where, len(names)),
            np.bincount(where, np.einsum("nd,nd->n", seen, seen)[of], len(names)).astype(np.float64),
            group_sums(expected[of], where, len(names)),
        )

    def cells(self, sketch: CaptionSketchState) -> NDArray[np.int64]:
        """The cells with the highest shares of misfits."""
        some = np.flatnonzero(sketch.misfits >= self.least)
        share = sketch.misfits[some] / sketch.pairs[some]
        worth = some[share >= 2 * MISFIT]
        order = np.lexsort((worth, -share[share >= 2 * MISFIT]))
        return np.sort(worth[order[: self.most]])

    def merge(self, a: CaptionCarriersState, b: CaptionCarriersState) -> CaptionCarriersState:
        """Counts and sums add up by phrase."""
        phrase = distinct(a.phrase, b.phrase)
        return self._limited(
            phrase,
            added(phrase, (a.phrase, a.pairs), (b.phrase, b.pairs)),
            added(phrase, (a.phrase, a.misfits), (b.phrase, b.misfits)),
            added(phrase, (a.phrase, a.seen), (b.phrase, b.seen)),
            added(phrase, (a.phrase, a.squares), (b.phrase, b.squares)),
            added(phrase, (a.phrase, a.expected), (b.phrase, b.expected)),
        )

    def _limited(
        self,
        phrase: NDArray[np.uint64],
        pairs: NDArray[np.int64],
        bad: NDArray[np.int64],
        seen: NDArray[np.float64],
        squares: NDArray[np.float64],
        expected: NDArray[np.float64],
    ) -> CaptionCarriersState:
        """The first phrases by hash, where the cells hold more than there is room for: what is dropped stays dropped in any merge."""
        kept = slice(0, 2 * self.most)
        return CaptionCarriersState(phrase[kept], pairs[kept], bad[kept], seen[kept], squares[kept], expected[kept])

    def finish(self, state: CaptionCarriersState, views: Views) -> CaptionCarriersView:
        """How alike and how far from what was expected the pictures are."""
        number = np.maximum(state.misfits, 1)
        pairwise = (np.einsum("pd,pd->p", state.seen, state.seen) - state.squares) / np.maximum(number * (number - 1), 1)
        alike = pairwise / np.maximum(state.squares / number, 1e-9)
        seen, expected = state.seen / number[:, None], state.expected / number[:, None]
        squared = np.einsum("pd,pd->p", expected, expected)
        kept = np.einsum("pd,pd->p", seen, expected) / np.maximum(squared, 1e-9)
        claim = np.sqrt(squared) / max(views["trusted_pairs"].usual, 1e-9)
        return CaptionCarriersView(state.phrase, state.pairs, state.misfits, alike, claim, kept)
